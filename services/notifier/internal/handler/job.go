package handler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/expression"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/outbox"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// job is one run of one channel.
type job struct {
	*Notify
	run      *stage.Run
	known    channel
	provider *notifyv1.Provider // nil when it does not exist
	send     provider.Sender
	traits   provider.Traits
	now      time.Time

	boxes   []*box
	retries int                    // objects and groups that wait for their next try
	settled map[string]settledness // what was found about commits, by source and revision
	commits map[string]commit      // what stage news keeps of them, by the same
	name    *expression.Expression // spec.commitStatusExpr; nil for none
}

// commit is what is known of one.
type commit struct {
	what   *news.Commit
	images *news.Images
}

// box is what one alert wants told.
type box struct {
	alert   *alert.Alert
	entries []*outbox.Entry
}

// letters reads what waits, by alert, and how much that is. What nobody wants told any more is removed; what an alert wants told through
// another Provider now goes there.
func (j *job) letters(ctx context.Context) (int, error) {
	list, err := j.env.Bus.Letters(ctx, bus.StreamOutbox, j.run.Key, true)
	if err != nil {
		return 0, err
	}
	var waiting int
	var gone, moved []bus.Letter
	byAlert := map[string]*box{}
	j.boxes = nil
	for _, l := range list {
		b, ok := byAlert[l.Alert]
		if !ok {
			a, err := j.alerts.get(ctx, types.NamespacedName{Namespace: j.run.Key.Namespace, Name: l.Alert})
			if err != nil {
				return 0, err
			}
			b = &box{alert: a}
			byAlert[l.Alert] = b
			if a != nil {
				j.boxes = append(j.boxes, b)
			}
		}
		e, err := outbox.Read(l)
		switch {
		case err != nil:
			j.run.Log.Error("letter that cannot be read", "err", err)
			gone = append(gone, l)
		case b.alert == nil:
			gone = append(gone, l)
		case b.alert.Spec.ProviderRef.Name != j.run.Key.Name:
			moved = append(moved, l)
		case b.alert.Spec.Suspend:
			waiting++
		default:
			waiting++
			of := j.sending.Clock.Of
			e.Letter.Written, e.Change.Time, e.Change.Since = of(l.Written), of(e.Change.Time), of(e.Change.Since)
			j.nameCluster(&e.Event)
			b.entries = append(b.entries, e)
		}
	}
	if err := j.move(ctx, byAlert, moved); err != nil {
		return 0, err
	}
	return waiting, j.dropLetters(ctx, gone)
}

// clusterKey is under what the name of the cluster is told beside an event, where nobody said another there.
const clusterKey = "cluster"

func (j *job) nameCluster(e *eventv1.Event) {
	if j.sending.Cluster == "" || e.Metadata[clusterKey] != "" {
		return
	}
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	e.Metadata[clusterKey] = j.sending.Cluster
}

func (j *job) dropLetters(ctx context.Context, list []bus.Letter) error {
	if len(list) == 0 {
		return nil
	}
	if err := j.run.Guard(); err != nil {
		return err
	}
	return j.env.Bus.DropLetters(ctx, bus.StreamOutbox, list)
}

// move gives letters to the channels that their alerts name now.
func (j *job) move(ctx context.Context, boxes map[string]*box, list []bus.Letter) error {
	if len(list) == 0 {
		return nil
	}
	moved := slices.Clone(list)
	for i := range moved {
		moved[i].Channel.Name = boxes[moved[i].Alert].alert.Spec.ProviderRef.Name
	}
	if err := j.env.Bus.MoveLetters(ctx, moved); err != nil {
		return err
	}
	for _, l := range moved {
		if err := stage.Wake(ctx, j.env.Bus, state.StageNotify, l.Channel, stage.Hint{Cause: causeLetter}); err != nil {
			return err
		}
	}
	return j.dropLetters(ctx, list)
}

// expire makes dead letters of those that waited for too long.
func (j *job) expire(ctx context.Context, why error) error {
	var old []*outbox.Entry
	for _, b := range j.boxes {
		for _, e := range b.entries {
			if j.expired(e) {
				old = append(old, e)
			}
		}
	}
	return j.bury(ctx, old, why)
}

func (j *job) expired(e *outbox.Entry) bool {
	return j.sending.Clock.Now().Sub(e.Letter.Written) >= j.sending.MaxAge
}

// bury makes dead letters of entries.
func (j *job) bury(ctx context.Context, entries []*outbox.Entry, why error) error {
	if len(entries) == 0 {
		return nil
	}
	if err := j.run.Guard(); err != nil {
		return err
	}
	dead := make([]bus.Letter, len(entries))
	for i, e := range entries {
		dead[i] = e.Letter
		dead[i].Reason = oneLine(why)
	}
	if err := j.env.Bus.Bury(ctx, dead); err != nil {
		return err
	}
	j.metrics.dead.WithLabelValues(j.run.Key.String()).Add(float64(len(dead)))
	j.run.Log.Warn("not told, kept as dead letters", "letters", len(dead), "err", why)
	return j.dropLetters(ctx, dead)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// The names of the parts of stage notify.
func toldPart(alert *alert.Alert, object string) string {
	return fmt.Sprintf("told/%s/%s", alert.Name, object)
}

func groupPart(alert *alert.Alert, id string) string {
	return fmt.Sprintf("group/%s/%s", alert.Name, id)
}

// clean forgets messages about groups that ended long ago, and what alerts told that are gone.
func (j *job) clean(ctx context.Context) error {
	if time.Since(j.known.Cleaned) < cleanEvery {
		return nil
	}
	parts, err := j.env.Bus.ListParts(ctx, state.StageNotify, j.run.Key)
	if err != nil {
		return err
	}
	for name, part := range parts {
		kind, rest, _ := strings.Cut(name, "/")
		alert, _, _ := strings.Cut(rest, "/")
		a, err := j.alerts.get(ctx, types.NamespacedName{Namespace: j.run.Key.Namespace, Name: alert})
		if err != nil {
			return err
		}
		stale := a == nil
		if !stale && time.Since(part.Written) > cleanEvery {
			stale, err = j.isOver(ctx, kind, rest)
		}
		if err != nil {
			return err
		}
		if stale {
			if err := j.run.DropPart(ctx, name); err != nil {
				return err
			}
		}
	}
	j.known.Cleaned = time.Now()
	return nil
}

// isOver says whether nothing can come any more of what a part is about: a group's message, or an object that is gone.
func (j *job) isOver(ctx context.Context, kind, rest string) (bool, error) {
	if kind == "group" {
		return true, nil
	}
	_, object, _ := strings.Cut(rest, "/")
	o, ok := splitObject(objectPart + object)
	if !ok {
		return true, nil
	}
	found, err := (&objects{j.env.Cluster}).read(ctx, o)
	return err == nil && found.Object == nil, err
}

// forget removes what is kept of a Provider that is gone.
func (j *job) forget(ctx context.Context) error {
	parts, err := j.env.Bus.ListParts(ctx, state.StageNotify, j.run.Key)
	if err != nil {
		return err
	}
	for name := range parts {
		if err := j.run.DropPart(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
