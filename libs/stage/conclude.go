package stage

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// conclude records a run, and what follows from it.
func (s *Stage) conclude(ctx context.Context, run *Run, t trigger, result Result, runErr error) (runEnd, error) {
	if result.More && runErr == nil {
		return partly, s.concludePart(ctx, run)
	}
	return concluded, s.concludeWhole(ctx, run, t, result, runErr)
}

// concludeWhole arms the next run, and then records this one: a record that stands for the trigger says that the object is armed. A run that did
// nothing and left everything as it was needs no record, as its trigger is acknowledged right away; but for one whose own delivery is to come.
func (s *Stage) concludeWhole(ctx context.Context, run *Run, t trigger, result Result, runErr error) error {
	idle := result.Idle && runErr == nil
	if err := s.arm(ctx, run, result, runErr); err != nil {
		return err
	}
	if idle {
		run.record.Budget.Tokens++
	}
	if idle && !t.handedOn && run.isAsBefore() {
		return nil
	}
	run.record.Seq, run.record.At = t.seq, t.at
	return run.write(ctx)
}

// arm arms or disarms the next run, unless what is armed will do.
func (s *Stage) arm(ctx context.Context, run *Run, result Result, runErr error) error {
	rec := run.record
	next := s.nextRun(rec, result, runErr)
	if next == 0 && rec.Next.IsZero() {
		return nil
	}
	if next == 0 {
		rec.Next = time.Time{}
		return s.rt.Bus.Unschedule(ctx, s.Name, run.Key)
	}
	// What the record says is due may be another than what is armed, as after runs that were not recorded: the server knows.
	if runErr == nil && (result.Idle || s.willDo(rec.Next, next, result)) {
		armed, err := s.rt.Bus.Scheduled(ctx, s.Name, run.Key)
		if err != nil || s.willDo(armed, next, result) {
			return err
		}
	}
	rec.Next = time.Now().Add(next)
	return s.rt.Bus.Schedule(ctx, s.Name, run.Key, rec.Next, Hint{Cause: "schedule"}.header(ctx), false)
}

// willDo says whether a run at a time will do in place of one in next. After a run that did nothing any will that comes no later, so that many of
// them do not put it off for ever. After others one will that comes about when it should, or earlier by up to half: in a row of commits that saves
// a write for each, and costs one run at most.
func (s *Stage) willDo(at time.Time, next time.Duration, result Result) bool {
	left := time.Until(at)
	if result.Idle {
		return left > 0 && left <= next
	}
	latest := time.Duration(float64(result.Next) * (1 + s.opts.Jitter))
	return !result.Exact && s.opts.Jitter > 0 && left >= result.Next/2 && left <= latest
}

// nextRun decides when the object runs again by itself and counts failures.
func (s *Stage) nextRun(rec *record, result Result, err error) time.Duration {
	if err == nil {
		rec.Failures, rec.Crashes = 0, 0
		if result.Exact || s.opts.Jitter < 0 {
			return result.Next
		}
		return jitter(result.Next, s.opts.Jitter)
	}
	rec.Failures++
	switch after := retryAfter(err); {
	case IsStall(err):
		return 0
	case after > 0:
		return after
	default:
		return s.opts.Backoff.Delay(rec.Failures)
	}
}

// forget drops what is remembered of an object. Its trigger goes last, so that a process that dies before has another one finish; a newer trigger
// stays, as the object may be there again.
func (s *Stage) forget(ctx context.Context, key types.NamespacedName, t trigger) error {
	if err := s.rt.Bus.Unschedule(ctx, s.Name, key); err != nil {
		return err
	}
	if err := s.rt.Bus.DropState(ctx, bus.RecordKey(s.Name, key)); err != nil {
		return err
	}
	if err := s.rt.Bus.DropTrigger(ctx, s.Name, key, t.seq); err != nil {
		return err
	}
	s.rt.Metrics.forget(s.Name)
	return nil
}
