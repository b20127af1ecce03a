package handler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/outbox"
)

// settledness says whether a commit has ended, and whether that is because of a newer one.
type settledness struct{ done, superseded bool }

// plan decides what to send now. Whether a commit has ended is looked at first, and then once more what waits: what came to the outbox before
// the end was seen must be part of the message.
func (j *job) plan(ctx context.Context) ([]outbox.Parcel, time.Duration, error) {
	j.settled = map[string]settledness{}
	parcels, drops, next, err := j.planOnce(ctx, j.look)
	if err != nil {
		return nil, 0, err
	}
	if len(j.settled) > 0 {
		behind, err := j.behind(ctx)
		if err != nil {
			return nil, 0, err
		}
		if behind {
			clear(j.settled)
		}
		if _, err := j.letters(ctx); err != nil {
			return nil, 0, err
		}
		if parcels, drops, next, err = j.planOnce(ctx, j.looked); err != nil {
			return nil, 0, err
		}
		if behind && (next == 0 || next > soon) {
			next = soon
		}
	}
	untriedFirst(parcels)
	d := &delivery{job: j}
	return parcels, next, d.dropEntries(ctx, drops)
}

// untriedFirst puts what could not be told before behind all else, and keeps what belongs together in order.
func untriedFirst(parcels []outbox.Parcel) {
	tried := map[string]bool{}
	for i := range parcels {
		tried[parcels[i].Name()] = tried[parcels[i].Name()] || parcels[i].Tries() > 0
	}
	slices.SortStableFunc(parcels, func(a, b outbox.Parcel) int {
		switch ta, tb := tried[a.Name()], tried[b.Name()]; {
		case ta == tb:
			return 0
		case ta:
			return 1
		}
		return -1
	})
}

// soon is when to look again at facts that are under way.
const soon = 200 * time.Millisecond

func (j *job) planOnce(ctx context.Context, settled func(context.Context, news.Object, string, func(string) bool) settledness) (parcels []outbox.Parcel, drops []*outbox.Entry, next time.Duration, err error) {
	note := func(e error) {
		if err == nil {
			err = e
		}
	}
	j.retries = 0
	for _, b := range j.boxes {
		if len(b.entries) == 0 {
			continue
		}
		v := &outbox.View{
			Now: j.now, Alert: b.alert, Cluster: j.sending.Cluster, Traits: j.traits, Entries: b.entries, GroupWait: j.sending.GroupWait,
			Told: func(object string) (t outbox.Told) {
				_, e := j.run.LoadPart(ctx, toldPart(b.alert, object), &t)
				note(e)
				return t
			},
			Group: func(id string) (g outbox.Group) {
				_, e := j.run.LoadPart(ctx, groupPart(b.alert, id), &g)
				note(e)
				return g
			},
			Failures: func(c *news.Change) int { n, e := j.failures(ctx, c); note(e); return n },
			Gone: func(o news.Object) bool {
				found, e := (&objects{j.env.Cluster}).read(ctx, o)
				note(e)
				return e == nil && found.Object == nil
			},
			Settled: func(source news.Object, revision string, touched func(string) bool) (bool, bool) {
				s := settled(ctx, source, revision, touched)
				return s.done, s.superseded
			},
			Commit: func(source news.Object, revision string) (*news.Commit, *news.Images) {
				c, i, e := j.commit(ctx, source, revision)
				note(e)
				return c, i
			},
			Context: func(e *outbox.Entry) (string, error) { return j.statusContext(ctx, b.alert, e) },
		}
		v.Merged = v.Group(outbox.MergedID)
		made := outbox.Make(v)
		j.retries += made.Blocked
		parcels, drops = append(parcels, made.Parcels...), append(drops, made.Drop...)
		if made.Next > 0 && (next == 0 || made.Next < next) {
			next = made.Next
		}
	}
	return parcels, drops, next, err
}

// failures counts the failures in a row of what failed; where no run fails, as when objects stay unhealthy, the times that it was looked at.
func (j *job) failures(ctx context.Context, c *news.Change) (int, error) {
	if c.Stage != "" {
		return stage.FailuresOf(ctx, j.env.Bus, c.Stage, types.NamespacedName{Namespace: c.Object.Namespace, Name: c.Object.Name})
	}
	if c.Retry <= 0 {
		return 1, nil
	}
	return 1 + int(j.now.Sub(c.Since)/c.Retry), nil
}

// commit reads what stage news keeps of a commit, once a run.
func (j *job) commit(ctx context.Context, source news.Object, revision string) (*news.Commit, *news.Images, error) {
	name := source.String() + " " + revision
	if c, ok := j.commits[name]; ok {
		return c.what, c.images, nil
	}
	var c commit
	if _, err := stage.ReadPart(ctx, j.env.Bus, state.StageNews, newsKey, commitName(source, revision), &c.what); err != nil {
		return nil, nil, err
	}
	if hash := news.Hash(revision); hash != "" {
		if _, err := stage.ReadPart(ctx, j.env.Bus, state.StageNews, newsKey, imagesName(source, hash), &c.images); err != nil {
			return nil, nil, err
		}
	}
	if j.commits == nil {
		j.commits = map[string]commit{}
	}
	j.commits[name] = c
	return c.what, c.images, nil
}

// look finds out whether a commit has ended, and remembers that it has.
func (j *job) look(ctx context.Context, source news.Object, revision string, touched func(string) bool) settledness {
	s, err := j.isSettled(ctx, source, revision, touched)
	if err != nil {
		j.run.Log.Warn("cannot find out whether a commit has ended", "revision", revision, "err", err)
		return settledness{}
	}
	if s.done || s.superseded {
		j.settled[source.String()+" "+revision] = s
	}
	return s
}

// looked is what look found.
func (j *job) looked(_ context.Context, source news.Object, revision string, _ func(string) bool) settledness {
	return j.settled[source.String()+" "+revision]
}

// isSettled asks of each application that follows a source whether it is done with a revision: ready or failed at it, or there without being touched by
// it. Applications that are suspended do not follow.
func (j *job) isSettled(ctx context.Context, source news.Object, revision string, touched func(string) bool) (settledness, error) {
	var known state.Source // no cache: one that lags would have an older revision
	if _, err := stage.ReadState(ctx, j.env.Bus, state.StageGit, types.NamespacedName{Namespace: source.Namespace, Name: source.Name}, &known); err != nil {
		return settledness{}, err
	}
	if known.Artifact != nil && known.Artifact.Revision != revision {
		return settledness{superseded: true}, nil
	}
	var list kustomizev1.KustomizationList
	if err := j.env.Cluster.Cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return settledness{}, fmt.Errorf("list kustomizations: %w", err)
	}
	all := apps{}
	for i := range list.Items {
		all[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
	}
	for key, k := range all {
		name := news.Object{Kind: kustomizev1.KustomizationKind, Namespace: key.Namespace, Name: key.Name}.String()
		if follows(k, source) && !all.isDone(k, revision, touched(name)) {
			return settledness{}, nil
		}
	}
	return settledness{done: true}, nil
}

func follows(k *kustomizev1.Kustomization, source news.Object) bool {
	key := kube.SourceOf(k)
	return k.Spec.SourceRef.Kind == source.Kind && key.Namespace == source.Namespace && key.Name == source.Name && !k.Spec.Suspend && k.DeletionTimestamp == nil
}

// apps are all applications.
type apps map[types.NamespacedName]*kustomizev1.Kustomization

func (a apps) isDone(k *kustomizev1.Kustomization, revision string, touched bool) bool {
	if waitsForDependency(k) {
		return a.isStuck(k, maxDepth)
	}
	ready := apimeta.FindStatusCondition(k.Status.Conditions, meta.ReadyCondition)
	return k.Status.LastAttemptedRevision == revision && ready != nil && (ready.Status != metav1.ConditionUnknown || !touched)
}

func waitsForDependency(k *kustomizev1.Kustomization) bool {
	ready := apimeta.FindStatusCondition(k.Status.Conditions, meta.ReadyCondition)
	return ready != nil && ready.Reason == meta.DependencyNotReadyReason
}

// maxDepth bounds how far dependencies are followed.
const maxDepth = 20

// isStuck says whether an application waits for one that will not get ready by itself: nothing comes of it until somebody mends that.
func (a apps) isStuck(k *kustomizev1.Kustomization, depth int) bool {
	if depth == 0 {
		return true // they wait for one another
	}
	return slices.ContainsFunc(k.Spec.DependsOn, func(d kustomizev1.DependencyReference) bool {
		on := a[types.NamespacedName{Namespace: cmp.Or(d.Namespace, k.Namespace), Name: d.Name}]
		switch {
		case on == nil, on.Spec.Suspend:
			return true
		case waitsForDependency(on):
			return a.isStuck(on, depth-1)
		}
		return apimeta.IsStatusConditionFalse(on.Status.Conditions, meta.ReadyCondition)
	})
}

// behind says whether facts were told that stage news did not take yet.
func (j *job) behind(ctx context.Context) (bool, error) {
	var known place
	if _, err := stage.ReadState(ctx, j.env.Bus, state.StageNews, newsKey, &known); err != nil {
		return false, err
	}
	last, err := j.env.Bus.LastFact(ctx)
	return last > known.At.Sequence, err
}
