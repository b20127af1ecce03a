package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
)

// busyDelay is the time until a run comes back that found another automation pushing to its branch.
const busyDelay = 200 * time.Millisecond

// least is the shortest interval between runs.
const least = time.Second

// waitError says that the run shall come back: nothing is wrong.
type waitError struct {
	error
	after time.Duration
}

var errCollecting = errors.New("changes wait for others")

// Run brings one ImageUpdateAutomation forward.
func (u *updater) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	auto := &automationv1.ImageUpdateAutomation{}
	err := u.cluster.Client.Get(ctx, run.Key, auto)
	switch {
	case apierrors.IsNotFound(err):
		return stage.Result{Gone: true}, nil
	case err != nil:
		// An API server that is away is no fault of the automation: the patience does not grow.
		return stage.Result{}, stage.After(5*time.Second, fmt.Errorf("read image update automation: %w", err))
	case auto.DeletionTimestamp != nil:
		return u.release(ctx, run, auto)
	case auto.Spec.Suspend:
		return stage.Result{}, nil
	}
	known, err := loadRecord(run, auto)
	if err != nil {
		return stage.Result{}, err
	}
	all, result, err := u.bring(ctx, run, auto, known)
	if err == nil {
		err = u.succeeded(ctx, run, auto, known, all, result)
	}
	if err == nil {
		err = result.rest
	}
	var wait *waitError
	if errors.As(err, &wait) {
		return stage.Result{Next: wait.after, Exact: true, Idle: true}, run.Keep(known)
	}
	if kube.IsConflict(err) { // what was read is older than what is there
		return stage.Result{}, errors.Join(run.Keep(known), stage.After(250*time.Millisecond, err))
	}
	if err != nil {
		return u.failed(ctx, run, auto, known, err)
	}
	return stage.Result{Next: next(auto, all, result)}, nil
}

// next is the time to the next run when nothing else wakes the automation.
func next(auto *automationv1.ImageUpdateAutomation, all *choices, result *outcome) time.Duration {
	interval := max(auto.Spec.Interval.Duration, least)
	if result.again > 0 {
		interval = min(interval, result.again)
	}
	if until := all.until(time.Now()); until > 0 && until < interval {
		return until
	}
	return interval
}

// release lets a deleted object go that has a finalizer from Flux.
func (u *updater) release(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation) (stage.Result, error) {
	if err := run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := u.cluster.RemoveFinalizer(ctx, auto); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}

// bring brings the branch to what the policies chose, once changes have waited long enough for others. Automations that push to the same branch
// take turns.
func (u *updater) bring(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record) (*choices, *outcome, error) {
	requested := kube.RequestedAt(auto) != auto.Status.LastHandledReconcileAt
	if left := known.Waiting.left(time.Now(), u.Quiet, u.MaxWait); left > 0 && !requested {
		return nil, nil, &waitError{errCollecting, left} // of a thousand changes, not each shall look at all
	}
	want, err := u.target(ctx, auto)
	if err != nil {
		return nil, nil, err
	}
	all, err := u.choices(ctx, auto)
	if err != nil {
		return nil, nil, err
	}
	if left := known.collect(all.digest(), all.latest(), time.Now(), u.Quiet, u.MaxWait); left > 0 && !requested {
		return nil, nil, &waitError{errCollecting, left}
	}
	j := &job{updater: u, run: run, auto: auto, target: want, choices: all, known: known}
	if err := j.survey(ctx); err != nil {
		return nil, nil, err
	}
	result, err := j.alone(ctx)
	return all, result, err
}

// alone pushes while no other automation does to the same branch.
func (j *job) alone(ctx context.Context) (*outcome, error) {
	ctx, shared, err := j.run.Share(ctx, j.target.lockName())
	if errors.Is(err, stage.ErrShared) {
		return nil, &waitError{err, busyDelay}
	}
	if err != nil {
		return nil, fmt.Errorf("lock branch %s: %w", j.target.push, err)
	}
	defer shared.Release(ctx)
	j.shared = shared
	if j.target.requests != nil {
		return j.request(ctx)
	}
	return j.push(ctx)
}
