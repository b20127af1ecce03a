package handler

import (
	"context"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
)

// conclude writes what became of an application whose set is in the cluster: it is ready, or waits to become healthy, or failed to.
// applied and pruned are nil when there was nothing to do.
func (a *Applier) conclude(ctx context.Context, j *job, applied, pruned []apply.Change) (stage.Result, error) {
	if !asksForHealth(j.k) {
		apimeta.RemoveStatusCondition(&j.k.Status.Conditions, meta.HealthyCondition)
		j.known.Health, j.known.HealthSince = healthUnasked, time.Time{}
		return a.succeeded(ctx, j, applied, pruned)
	}
	if j.exprs == nil {
		if err := j.compile(); err != nil {
			return a.failed(ctx, j, err)
		}
	}
	if j.known.Health == healthUnasked || !j.isApplied() || len(changes(applied, pruned)) > 0 {
		j.known.Health, j.known.HealthSince = healthUnasked, time.Now()
	}
	v, polled, err := a.judge(ctx, j)
	if err != nil {
		return stage.Result{}, err
	}
	switch {
	case v.state == healthHealthy:
		return a.healthy(ctx, j, applied, pruned)
	case j.known.Health == healthFailed || j.known.Health == healthTimedOut:
		return a.stillUnhealthy(ctx, j)
	case j.known.Health == healthHealthy:
		j.known.HealthSince = time.Now()
	}
	if v.state == healthFailed || time.Since(j.known.HealthSince) >= a.timeoutOf(j.k) {
		return a.unhealthy(ctx, j, v, applied, pruned)
	}
	return a.waits(ctx, j, v, polled, applied, pruned)
}

// healthy writes that all objects are healthy, and so that the application is ready.
func (a *Applier) healthy(ctx context.Context, j *job, applied, pruned []apply.Change) (stage.Result, error) {
	from := j.known.Health
	if from != healthHealthy || !apimeta.IsStatusConditionTrue(j.k.Status.Conditions, meta.HealthyCondition) {
		message := "Health check passed in " + time.Since(j.known.HealthSince).Round(time.Millisecond).String()
		setHealthy(j, metav1.ConditionTrue, meta.SucceededReason, message)
	}
	j.known.Health = healthHealthy
	result, err := a.succeeded(ctx, j, applied, pruned)
	if err == nil && from != healthHealthy {
		err = a.tellHealth(ctx, j, from, "all objects are healthy")
	}
	return result, err
}

// waits writes that objects are not healthy yet. The watch wakes the application when they are; its timeout ends the wait.
func (a *Applier) waits(ctx context.Context, j *job, v verdict, polled bool, applied, pruned []apply.Change) (stage.Result, error) {
	message := fmt.Sprintf("Running health checks for revision %s with a timeout of %s", j.rendered.SourceRevision, a.timeoutOf(j.k))
	kube.MarkProgressing(&j.k.Status.Conditions, j.k.Generation, message)
	setHealthy(j, metav1.ConditionUnknown, meta.ProgressingReason, message)
	j.k.Status.LastAttemptedRevision = j.rendered.SourceRevision
	if err := a.write(ctx, j, ""); err != nil {
		return stage.Result{}, err
	}
	j.awaitsHealth = true
	if err := a.tellApplied(ctx, j, applied, pruned); err != nil {
		return stage.Result{}, err
	}
	from := j.known.Health
	j.known.Health = healthProgressing
	j.noteApplied()
	if from != healthProgressing {
		if err := a.tellHealth(ctx, j, from, v.list()); err != nil {
			return stage.Result{}, err
		}
	}
	next := a.timeoutOf(j.k) - time.Since(j.known.HealthSince)
	switch {
	case polled:
		next = min(next, askInterval)
	case v.unseen:
		next = min(next, watchFill)
	}
	return stage.Result{Next: max(next, 10*time.Millisecond), Exact: true}, j.run.Keep(j.known)
}

// unhealthy writes that objects failed, or did not become healthy in time.
func (a *Applier) unhealthy(ctx context.Context, j *job, v verdict, applied, pruned []apply.Change) (stage.Result, error) {
	after := time.Since(j.known.HealthSince).Round(time.Millisecond)
	from, to, why := j.known.Health, healthTimedOut, "timeout waiting for: "
	if v.state == healthFailed {
		to, why = healthFailed, "failed early due to stalled resources: "
	}
	message := fmt.Sprintf("health check failed after %s: %s%s", after, why, v.list())
	setHealthy(j, metav1.ConditionFalse, meta.HealthCheckFailedReason, message)
	kube.MarkFailed(&j.k.Status.Conditions, j.k.Generation, meta.HealthCheckFailedReason, message, false)
	j.k.Status.LastAttemptedRevision = j.rendered.SourceRevision
	if err := a.write(ctx, j, meta.HealthCheckFailedReason); err != nil {
		return stage.Result{}, err
	}
	j.awaitsHealth = true
	if err := a.tellApplied(ctx, j, applied, pruned); err != nil {
		return stage.Result{}, err
	}
	j.known.Health = to
	if err := a.tellHealth(ctx, j, from, v.list()); err != nil {
		return stage.Result{}, err
	}
	j.run.Log.Warn("not healthy", "revision", j.rendered.SourceRevision, "err", message)
	a.Events.Warning(j.k, j.rendered.SourceRevision, meta.HealthCheckFailedReason, message)
	return a.lookAgain(j)
}

// stillUnhealthy leaves what was written, but for the revision.
func (a *Applier) stillUnhealthy(ctx context.Context, j *job) (stage.Result, error) {
	j.k.Status.LastAttemptedRevision = j.rendered.SourceRevision
	if err := a.write(ctx, j, ""); err != nil {
		return stage.Result{}, err
	}
	return a.lookAgain(j)
}

func (a *Applier) lookAgain(j *job) (stage.Result, error) {
	j.noteApplied()
	return stage.Result{Next: j.k.GetRetryInterval()}, j.run.Keep(j.known)
}

func setHealthy(j *job, is metav1.ConditionStatus, reason, message string) {
	kube.SetCondition(&j.k.Status.Conditions, meta.HealthyCondition, is, j.k.Generation, reason, message)
}

var healthFacts = map[string]factsv1.Health{
	healthProgressing: factsv1.Health_HEALTH_PROGRESSING, healthHealthy: factsv1.Health_HEALTH_HEALTHY,
	healthTimedOut: factsv1.Health_HEALTH_TIMED_OUT, healthFailed: factsv1.Health_HEALTH_FAILED,
}

// tellHealth publishes that the health is another than before.
func (a *Applier) tellHealth(ctx context.Context, j *job, from, message string) error {
	fact := j.fact("health-changed")
	fact.Kind = &factsv1.Fact_HealthChanged{HealthChanged: &factsv1.HealthChanged{From: healthFacts[from], To: healthFacts[j.known.Health], Message: message}}
	return j.run.Tell(ctx, fact)
}
