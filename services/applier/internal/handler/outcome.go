package handler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
)

// fault is a failure that people can mend: what they wrote, or what the API server says to it.
type fault struct {
	reason  string
	message string
	stalled bool // nothing changes before the spec does
	patient bool // somebody has to act, which wakes the application
	cause   error
}

func (f *fault) Error() string { return f.message }
func (f *fault) Unwrap() error { return f.cause }

// history is the reason under which an attempt to apply goes into the history; empty for what was not attempted.
func (f *fault) history() string {
	switch f.reason {
	case meta.ReconciliationFailedReason, meta.PruneFailedReason:
		return f.reason
	}
	return ""
}

// succeeded writes that the cluster is equal to the set, and tells of it when it is news.
func (a *Applier) succeeded(ctx context.Context, j *job, applied, pruned []apply.Change) (stage.Result, error) {
	wasReady := isReady(j.before)
	s := &j.k.Status
	s.LastAppliedRevision, s.LastAttemptedRevision = j.rendered.SourceRevision, j.rendered.SourceRevision
	kube.MarkReady(&s.Conditions, j.k.Generation, meta.ReconciliationSucceededReason, "Applied revision: "+j.rendered.SourceRevision)
	if err := a.write(ctx, j, meta.ReconciliationSucceededReason); err != nil {
		return stage.Result{}, err
	}
	if !wasReady && j.known.Health == healthUnasked {
		j.known.Told = "" // recovered, or ready for the first time
	}
	if err := a.tellApplied(ctx, j, applied, pruned); err != nil {
		return stage.Result{}, err
	}
	if changed := changes(applied, pruned); len(changed) > 0 || !wasReady || j.known.Generation != j.k.Generation {
		a.successEvent(j, changed, j.isRepair() && wasReady) // a revision that changed nothing here shows in the status alone
	}
	j.noteApplied()
	return stage.Result{Next: j.k.Spec.Interval.Duration, Idle: len(changes(applied, pruned)) == 0}, j.run.Keep(j.known)
}

// isRepair says whether this very set was applied before, so that what changed now was drift.
func (j *job) isRepair() bool {
	return j.known.Set == j.rendered.Set && j.known.Generation == j.k.Generation && !j.known.Incomplete
}

// tellApplied tells what was applied and pruned, when it is news.
func (a *Applier) tellApplied(ctx context.Context, j *job, applied, pruned []apply.Change) error {
	told := fmt.Sprintf("ok %s %d", j.rendered.SourceRevision, j.k.Generation)
	changed := changes(applied, pruned)
	if j.known.Told == told && len(changed) == 0 {
		return nil
	}
	if err := a.tellSuccess(ctx, j, applied, pruned, j.isRepair()); err != nil {
		return err
	}
	j.run.Log.Info("applied", "revision", j.rendered.SourceRevision, "changed", len(changed), "took", time.Since(j.started).String())
	if j.isRepair() && len(changes(applied)) > 0 {
		j.countRepair()
	}
	j.known.Told = told
	return nil
}

// noteApplied notes that the set is in the cluster for this spec.
func (j *job) noteApplied() {
	if !j.isApplied() {
		j.known.At = time.Now()
	}
	j.known.Set, j.known.Generation, j.known.RequestedAt = j.rendered.Set, j.k.Generation, j.rendered.RequestedAt
	j.known.Begun, j.known.Incomplete, j.known.Held = nil, false, ""
}

func isReady(k *kustomizev1.Kustomization) bool {
	for _, c := range k.Status.Conditions {
		if c.Type == meta.ReadyCondition {
			return c.Status == "True"
		}
	}
	return false
}

// changes are those of the lists that changed the cluster.
func changes(lists ...[]apply.Change) []apply.Change {
	var changed []apply.Change
	for _, list := range lists {
		for _, c := range list {
			if c.Action.Changed() {
				changed = append(changed, c)
			}
		}
	}
	return changed
}

// write writes the status and what it answers, once more looking whether the object is in these hands. An outcome that has a reason
// goes into the history, unless nothing else is to be written.
func (a *Applier) write(ctx context.Context, j *job, reason string) error {
	if err := j.run.Guard(); err != nil {
		return err
	}
	s := &j.k.Status
	s.ObservedGeneration = j.k.Generation
	if j.rendered.RequestedAt != "" {
		s.LastHandledReconcileAt = j.rendered.RequestedAt
	}
	if reason != "" && j.rendered.Set != "" && !apiequality.Semantic.DeepEqual(j.before.Status, j.k.Status) {
		s.History.Upsert(j.rendered.Set, time.Now(), time.Since(j.started), reason, map[string]string{"revision": j.rendered.SourceRevision})
	}
	_, err := a.Cluster.PatchStatus(ctx, j.before, j.k)
	return err
}

// successEvent says what was done in one Event.
func (a *Applier) successEvent(j *job, changed []apply.Change, repaired bool) {
	message := fmt.Sprintf("Applied revision %s in %s, next run in %s", j.rendered.SourceRevision, time.Since(j.started).Round(time.Millisecond), j.k.Spec.Interval.Duration)
	if repaired && len(changed) > 0 {
		message = "Repaired drift: objects were not as applied before"
	}
	a.Events.Normal(j.k, j.rendered.SourceRevision, meta.ReconciliationSucceededReason, message+lines(changed))
}

func lines(changed []apply.Change) string {
	var b strings.Builder
	for i, c := range changed {
		if i == 20 {
			fmt.Fprintf(&b, "\nand %d more", len(changed)-i)
			break
		}
		b.WriteString("\n" + c.String())
	}
	return b.String()
}

// pending writes that some objects wait for others, and comes back soon.
func (a *Applier) pending(ctx context.Context, j *job, result *apply.Result) (stage.Result, error) {
	first := result.Pending[0]
	message := fmt.Sprintf("%d objects wait: %s: %s", len(result.Pending), first.ID.Subject(), first.Reason)
	kube.MarkProgressing(&j.k.Status.Conditions, j.k.Generation, message)
	if err := a.write(ctx, j, ""); err != nil {
		return stage.Result{}, err
	}
	j.known.Begun, j.known.Incomplete = nil, true // the status names them now
	if err := j.run.Keep(j.known); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Next: pendingDelay, Exact: true}, nil
}

// applyFailed turns a failure of the engine into an outcome.
func (a *Applier) applyFailed(ctx context.Context, j *job, reason string, changed []apply.Change, err error) (stage.Result, error) {
	kind := apply.KindOf(err)
	if kind == apply.Stopped {
		return stage.Result{}, err
	}
	j.known.Incomplete = true
	message := err.Error() + lines(changes(changed))
	result, failure := a.failed(ctx, j, &fault{reason: reason, message: message, cause: err})
	if kind == apply.Unavailable && failure != nil {
		return stage.Result{}, err // grows less patient than a fault of the application
	}
	return result, failure
}

// failed writes a failure into the status, tells of it when it is another than before, and says when to try again.
func (a *Applier) failed(ctx context.Context, j *job, failure error) (stage.Result, error) {
	var f *fault
	if !errors.As(failure, &f) {
		return stage.Result{}, failure
	}
	if j.rendered.SourceRevision != "" {
		j.k.Status.LastAttemptedRevision = j.rendered.SourceRevision
	}
	kube.MarkFailed(&j.k.Status.Conditions, j.k.Generation, f.reason, f.message, f.stalled)
	if err := a.write(ctx, j, f.history()); err != nil {
		return stage.Result{}, err
	}
	told := fmt.Sprintf("failed %s %d %s: %s", j.rendered.SourceRevision, j.k.Generation, f.reason, f.message)
	if j.known.Told != told {
		if err := a.tellFailure(ctx, j, f); err != nil {
			return stage.Result{}, err
		}
		j.known.Told = told
	}
	if err := j.run.Keep(j.known); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{}, a.tryAgain(j, f)
}

// tellFailure publishes a failure. To wait for a dependency is none, only worth an Event.
func (a *Applier) tellFailure(ctx context.Context, j *job, f *fault) error {
	var unready *unreadyError
	if errors.As(f, &unready) && !unready.wrong {
		a.Events.Normal(j.k, j.rendered.SourceRevision, f.reason, f.message)
		return nil
	}
	j.run.Log.Warn("not applied", "revision", j.rendered.SourceRevision, "reason", f.reason, "err", f.message)
	a.Events.Warning(j.k, j.rendered.SourceRevision, f.reason, f.message)
	if !j.rendered.OK() {
		return nil // told by who rendered
	}
	return j.run.Tell(ctx, applyFailedFact(j, f))
}

// tryAgain says when a failed application is tried again: soon at first, as a namespace or a webhook that was missing may be there in
// a moment, and at last at the retry interval.
func (a *Applier) tryAgain(j *job, f *fault) error {
	if f.stalled {
		return stage.Stall(f)
	}
	if f.patient {
		return stage.After(j.k.Spec.Interval.Duration, f)
	}
	if !j.rendered.OK() {
		return stage.After(j.k.GetRetryInterval(), f) // the next render's fact comes earlier
	}
	patience := stage.Backoff{Base: 2 * time.Second, Max: j.k.GetRetryInterval()}
	return stage.After(patience.Delay(j.run.Failures+1), f)
}

// Report writes into the status what a run could not say itself.
func (a *Applier) Report(ctx context.Context, run *stage.Run, failure error) {
	k := &kustomizev1.Kustomization{}
	if err := a.Cluster.Client.Get(ctx, run.Key, k); err != nil {
		return
	}
	before := k.DeepCopy()
	message := "internal error: " + failure.Error()
	kube.MarkFailed(&k.Status.Conditions, k.Generation, meta.ReconciliationFailedReason, message, false)
	if run.Guard() != nil {
		return
	}
	if _, err := a.Cluster.PatchStatus(ctx, before, k); err == nil {
		a.Events.Warning(k, "", meta.ReconciliationFailedReason, message)
	}
}
