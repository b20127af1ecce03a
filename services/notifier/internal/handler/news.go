package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/outbox"
)

// newsKey is the one object of stage news: facts are taken by one replica at a time, in their order.
var newsKey = types.NamespacedName{Name: "facts"}

const (
	factsAtOnce = 256
	// newsNet is how long facts may wait whose trigger was lost.
	newsNet = time.Minute
	// youngest is how old facts may be that are told of where nothing is known of what was told before.
	youngest = time.Minute
)

// News is the handler of stage news. A run reads the facts behind those that it took last, and for each change of state puts a letter into the
// outbox for each alert that wants it told. Written in this order, so that a run that is killed anywhere is done again without a trace: the
// letters, the wake-ups of their channels, what is known of the objects, the place among the facts.
type News struct {
	env     *service.Env
	objects *objects
	alerts  *alerts
}

// NewNews makes stage news.
func NewNews(env *service.Env, events *kube.Events) *stage.Stage {
	n := &News{env: env, objects: &objects{env.Cluster}, alerts: newAlerts(env.Cluster, events)}
	return stage.New(env.Stages, state.StageNews, n, stage.Options{
		Slots: 1, Jitter: -1, Pace: stage.Pace{Burst: 20, Every: 50 * time.Millisecond},
		Backoff: stage.Backoff{Base: 500 * time.Millisecond, Max: 10 * time.Second},
		Objects: func(context.Context) ([]types.NamespacedName, error) { return []types.NamespacedName{newsKey}, nil },
		Facts: []string{
			bus.FactSourceRevised, bus.FactSourceFailed, bus.FactManifestsRendered, bus.FactRenderFailed, bus.FactApplied, bus.FactApplyFailed,
			bus.FactHealthChanged, bus.FactDriftRepaired, bus.FactPruned, bus.FactImageScanned, bus.FactImageSelected, bus.FactImageUpdated,
			bus.FactUpdateHeld, bus.FactImageFailed, bus.FactRecovered,
		},
		Map: func(context.Context, *factsv1.Fact) ([]types.NamespacedName, error) {
			return []types.NamespacedName{newsKey}, nil
		},
	})
}

// place is what is kept of stage news.
type place struct {
	At      bus.FactsPlace `json:"at"`
	Cleaned time.Time      `json:"cleaned,omitzero"`
	// Alerts are those of the last run, in order; nil where nothing is known of one.
	Alerts []types.UID `json:"alerts,omitempty"`
}

// Run takes all facts that were told since the last run.
func (n *News) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	var known place
	if _, err := run.Load(&known); err != nil {
		return stage.Result{}, err
	}
	all, err := n.alerts.list(ctx) // also to say what is wrong with them
	if err != nil {
		return stage.Result{}, err
	}
	if err := n.welcome(ctx, run, &known, all); err != nil {
		return stage.Result{}, err
	}
	for idle := true; ; idle = false {
		facts, at, err := n.env.Bus.FactsAfter(ctx, known.At, time.Now().Add(-youngest), factsAtOnce)
		if err != nil {
			return stage.Result{}, err
		}
		if len(facts) > 0 {
			if err := n.take(ctx, run, facts); err != nil {
				return stage.Result{}, err
			}
		}
		if at != known.At {
			known.At = at
			if err := run.Save(ctx, known); err != nil {
				return stage.Result{}, err
			}
		}
		if len(facts) < factsAtOnce {
			return stage.Result{Next: newsNet, Idle: idle && len(facts) == 0}, n.clean(ctx, run, &known)
		}
	}
}

// batch is what some facts together mean.
type batch struct {
	tracked map[string]*news.Tracked // by the name of the part
	changed map[string]bool
	letters []bus.Letter
	alerts  []*alert.Alert
}

func (n *News) take(ctx context.Context, run *stage.Run, facts []bus.StoredFact) error {
	all, err := n.alerts.list(ctx)
	if err != nil {
		return err
	}
	b := &batch{tracked: map[string]*news.Tracked{}, changed: map[string]bool{}, alerts: all}
	for _, f := range facts {
		if f.Fact == nil {
			continue
		}
		if err := n.takeOne(ctx, run, b, f); err != nil {
			return fmt.Errorf("take fact %s about %s: %w", bus.FactKind(f.Fact), bus.FactObject(f.Fact), err)
		}
	}
	if err := n.env.Bus.PutLetters(ctx, b.letters); err != nil {
		return err
	}
	if err := n.wake(ctx, b.letters); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(b.changed)) {
		if err := run.SavePart(ctx, name, b.tracked[name]); err != nil {
			return err
		}
	}
	return nil
}

// wake wakes the channels that letters are for.
func (n *News) wake(ctx context.Context, letters []bus.Letter) error {
	woken := map[types.NamespacedName]bool{}
	for _, l := range letters {
		if woken[l.Channel] {
			continue
		}
		woken[l.Channel] = true
		if err := stage.Wake(ctx, n.env.Bus, state.StageNotify, l.Channel, stage.Hint{Cause: causeLetter}); err != nil {
			return err
		}
	}
	return nil
}

// takeOne notes what a fact means, and writes the letters about it.
func (n *News) takeOne(ctx context.Context, run *stage.Run, b *batch, f bus.StoredFact) error {
	if err := n.noteCommit(ctx, run, f.Fact); err != nil {
		return err
	}
	name := trackedPart(f.GetObject())
	known, ok := b.tracked[name]
	if !ok {
		var err error
		if known, err = n.tracked(ctx, run, name, f.GetObject()); err != nil {
			return err
		}
		b.tracked[name] = known
	}
	change := known.Take(f.Fact, f.Sequence)
	if change == nil {
		return nil
	}
	b.changed[name] = true
	return n.address(ctx, b, change)
}

// tracked reads what is known of an object.
func (n *News) tracked(ctx context.Context, run *stage.Run, part string, o *factsv1.ObjectReference) (*news.Tracked, error) {
	known := &news.Tracked{}
	found, err := run.LoadPart(ctx, part, known)
	if found || err != nil {
		return known, err
	}
	obj, err := n.objects.read(ctx, news.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()})
	if err != nil {
		return nil, err
	}
	if k, ok := obj.Object.(*kustomizev1.Kustomization); ok {
		known.Applied = k.Status.LastAppliedRevision
	}
	return known, nil
}

// address writes a letter about a change for each alert that wants it told.
func (n *News) address(ctx context.Context, b *batch, c *news.Change) error {
	obj, err := n.objects.read(ctx, c.Object)
	if err != nil {
		return err
	}
	c.Source, c.Retry = sourceOf(c.Object, obj)
	for _, a := range b.alerts {
		want := a.Wants(c, obj.labels, n.env.NoCrossNamespaceRefs)
		if want == alert.Nothing {
			continue
		}
		event, conflicts := a.Event(c, obj.annotations(), obj.version())
		if len(conflicts) > 0 {
			n.alerts.warn(a.Alert, "MetadataAppendFailed", fmt.Sprintf("metadata is set in more than one place: %v", conflicts))
		}
		e := &outbox.Entry{Change: *c, Event: event, OnlyEnd: want == alert.OnlyEnd, Letter: bus.Letter{
			Channel: types.NamespacedName{Namespace: a.Namespace, Name: a.Spec.ProviderRef.Name}, Alert: a.Name,
		}}
		letter, err := e.Write()
		if err != nil {
			return err
		}
		b.letters = append(b.letters, letter)
	}
	return nil
}

func trackedPart(o *factsv1.ObjectReference) string {
	return objectPart + o.GetKind() + "/" + o.GetNamespace() + "/" + o.GetName()
}

// The beginnings of the names of the parts of stage news.
const (
	objectPart = "object/"
	commitPart = "commit/"
	imagesPart = "images/"
)

// noteCommit keeps what is to be told with all that a commit changed.
func (n *News) noteCommit(ctx context.Context, run *stage.Run, f *factsv1.Fact) error {
	about := news.Object{Kind: f.GetObject().GetKind(), Namespace: f.GetObject().GetNamespace(), Name: f.GetObject().GetName()}
	if c := news.CommitOf(f); c != nil {
		return run.SavePart(ctx, commitName(about, f.GetRevision()), c)
	}
	images, hash := news.ImagesOf(f)
	if images == nil || hash == "" {
		return nil
	}
	obj, err := n.objects.read(ctx, about)
	if err != nil {
		return err
	}
	auto, ok := obj.Object.(*automationv1.ImageUpdateAutomation)
	if !ok {
		return nil
	}
	ref := auto.Spec.SourceRef
	source := news.Object{Kind: ref.Kind, Namespace: cmp.Or(ref.Namespace, auto.Namespace), Name: ref.Name}
	return run.SavePart(ctx, imagesName(source, hash), images)
}

func imagesName(source news.Object, hash string) string {
	return imagesPart + source.String() + "/" + hash
}

func commitName(source news.Object, revision string) string {
	return commitPart + source.String() + "/" + revision
}

// sourceOf is the object whose revisions an object follows, and how often a failure of it is looked at again.
func sourceOf(o news.Object, found *object) (news.Object, time.Duration) {
	k, ok := found.Object.(*kustomizev1.Kustomization)
	if !ok {
		return o, 0
	}
	key := kube.SourceOf(k)
	return news.Object{Kind: k.Spec.SourceRef.Kind, Namespace: key.Namespace, Name: key.Name}, k.GetRetryInterval()
}

const (
	lookEvery   = 5 * time.Minute // for objects that are gone
	cleanEvery  = time.Hour
	keepCommits = 7 * 24 * time.Hour
)

// clean forgets old commits, and objects that are gone. Where one was failing, that ends with it.
func (n *News) clean(ctx context.Context, run *stage.Run, known *place) error {
	if time.Since(known.Cleaned) < lookEvery {
		return nil
	}
	parts, err := n.env.Bus.ListParts(ctx, state.StageNews, newsKey)
	if err != nil {
		return err
	}
	for name, part := range parts {
		stale, err := n.stale(ctx, name, part)
		if err != nil {
			return err
		}
		if stale {
			if err := run.DropPart(ctx, name); err != nil {
				return err
			}
		}
	}
	known.Cleaned = time.Now()
	return run.Save(ctx, *known)
}

func (n *News) stale(ctx context.Context, name string, part bus.Part) (bool, error) {
	age := time.Since(part.Written)
	o, ok := splitObject(name)
	if !ok {
		return age > keepCommits, nil
	}
	found, err := n.objects.read(ctx, o)
	if err != nil || found.Object != nil {
		return false, err
	}
	var known news.Tracked
	if err := json.Unmarshal(part.Value, &known); err != nil {
		return true, nil // nothing can be made of it
	}
	if known.Failing != nil {
		return false, n.env.Bus.PublishFact(ctx, known.Deleted(o), nil)
	}
	return age > cleanEvery, nil
}
