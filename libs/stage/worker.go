package stage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

const (
	pullWait = 30 * time.Second // how long one request for work stands at the server
	// busyDelay is when to look again at an object that somebody else holds. The holder looks for newer triggers itself, so
	// this matters only when it dies.
	busyDelay = 200 * time.Millisecond
	// crashLimit is how many runs in a row may end with their process before the object is backed off.
	crashLimit = 3
)

// slot takes one trigger at a time: a trigger never waits in this process while another replica is free.
func (s *Stage) slot(ctx context.Context) {
	for ctx.Err() == nil {
		msg, err := s.next(ctx)
		switch {
		case err == nil:
			s.handle(ctx, msg)
		case isIdle(err):
		default:
			s.log.Warn("cannot take work, trying on", "err", err)
			s.rt.Bus.Heal()
			sleep(ctx, 500*time.Millisecond)
		}
	}
}

func isIdle(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, jetstream.ErrNoMessages)
}

func (s *Stage) next(ctx context.Context) (jetstream.Msg, error) {
	cons, pulls, err := s.pullFrom(ctx)
	if err != nil {
		return nil, err
	}
	pull, cancel := context.WithTimeout(pulls, pullWait)
	defer cancel()
	msg, err := cons.Next(jetstream.FetchContext(pull))
	if err != nil && !isIdle(err) {
		s.mu.Lock()
		s.consumer = nil // declared again by the next pull
		s.mu.Unlock()
	}
	return msg, err
}

func (s *Stage) pullFrom(ctx context.Context) (jetstream.Consumer, context.Context, error) {
	if cons, pulls := s.declared(); cons != nil {
		return cons, pulls, nil
	}
	s.declaring.Lock() // not mu, which nobody shall wait for: this may take seconds
	defer s.declaring.Unlock()
	cons, pulls := s.declared()
	if cons != nil {
		return cons, pulls, nil
	}
	cons, err := s.rt.Bus.WorkConsumer(ctx, s.Name, s.opts.LockTTL)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pulls == pulls { // else the bus was away meanwhile and may have lost the consumer
		s.consumer = cons
	}
	return cons, pulls, nil
}

func (s *Stage) declared() (jetstream.Consumer, context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.consumer, s.pulls
}

// handle takes a trigger as far as it goes now. What it does not acknowledge or give back, the server delivers again.
func (s *Stage) handle(ctx context.Context, msg jetstream.Msg) {
	key, err := bus.ParseObjectSubject(msg.Subject())
	if err != nil {
		s.log.Error("trigger that names no object", "err", err)
		_ = msg.Term()
		return
	}
	if _, busy := s.inHand.LoadOrStore(key, struct{}{}); busy {
		_ = msg.NakWithDelay(busyDelay)
		return
	}
	answer := s.inTurn(ctx, msg, key)
	s.inHand.Delete(key)
	answer() // after the release, so that whoever gets a trigger finds the lock free
}

// inTurn works on an object that no other slot of this process has in hand. It returns how to answer the trigger.
func (s *Stage) inTurn(ctx context.Context, msg jetstream.Msg, key types.NamespacedName) (answer func()) {
	if s.isDone(ctx, msg, key) {
		return func() { _ = msg.Ack() }
	}
	held, err := s.locks.acquire(ctx, key)
	if err != nil {
		if !errors.Is(err, errBusy) {
			s.log.Warn("cannot lock object", "object", key.String(), "err", err)
		}
		return func() { _ = msg.NakWithDelay(busyDelay) }
	}
	answer = s.underLock(ctx, msg, key, held)
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	held.release(release)
	return answer
}

// isDone says whether a run stands already for a trigger that was delivered before. Its object was busy then, and who had it in hand looked for
// newer triggers: to see that, nobody needs the lock.
func (s *Stage) isDone(ctx context.Context, msg jetstream.Msg, key types.NamespacedName) bool {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered < 2 {
		return false
	}
	rec, err := loadRecord(ctx, s.rt.Bus, s.Name, key)
	return err == nil && rec.covers(newTrigger(meta.Sequence.Stream, meta.Timestamp, nil))
}

// underLock runs the object until no newer trigger stands. It returns how to answer the trigger.
func (s *Stage) underLock(ctx context.Context, msg jetstream.Msg, key types.NamespacedName, held *lock) (answer func()) {
	ack := func() { _ = msg.Ack() }
	later := func(d time.Duration) func() { return func() { _ = msg.NakWithDelay(d) } }
	meta, err := msg.Metadata()
	if err != nil {
		s.log.Error("trigger without metadata", "err", err)
		return ack
	}
	rec, err := loadRecord(ctx, s.rt.Bus, s.Name, key)
	if err != nil {
		s.log.Warn("cannot load record", "object", key.String(), "err", err)
		return later(busyDelay)
	}
	t := newTrigger(meta.Sequence.Stream, meta.Timestamp, msg.Headers())
	for {
		if rec.covers(t) {
			return ack
		}
		if wait := rec.Budget.take(s.opts.Pace, time.Now()); wait > 0 {
			return later(wait)
		}
		switch s.runOnce(ctx, msg, key, held, rec, t) {
		case givenBack:
			return func() { _ = msg.Nak() } // the next replica goes on at once, or when the lock has expired
		case notConcluded:
			return later(busyDelay)
		case gone:
			return ack
		case partly:
			return func() { s.goOn(ctx, msg, key, t) }
		}
		newer, err := s.rt.Bus.LastTrigger(ctx, s.Name, key)
		if err != nil || newer == nil || newer.Sequence <= t.seq {
			return ack // on an error the newer trigger's own delivery brings it
		}
		t = newTrigger(newer.Sequence, newer.Time, newer.Header)
		t.handedOn = true
	}
}

// runEnd is how a run ended for its trigger.
type runEnd int

const (
	concluded    runEnd = iota // recorded, with the next run armed
	partly                     // recorded, to go on at once
	gone                       // the object does not exist any more and is forgotten
	givenBack                  // ended by this process's end or the loss of the lock
	notConcluded               // done, but the bus did not take the record
)

// runOnce does one run and records what follows from it.
func (s *Stage) runOnce(ctx context.Context, msg jetstream.Msg, key types.NamespacedName, held *lock, rec *record, t trigger) runEnd {
	run := &Run{
		Key: key, Hint: t.hint, Failures: rec.Failures, bus: s.rt.Bus, stage: s.Name, lock: held, record: rec,
		Log: s.log.With("object", key.String()), before: *rec,
	}
	if !s.freshen(ctx, run) {
		return givenBack
	}
	result, err := s.execute(ctx, msg, run, t)
	if errors.Is(err, ErrLockLost) || held.guard() != nil || err != nil && ctx.Err() != nil {
		run.Log.Info("run given back", "err", err)
		return givenBack
	}
	// A run that got done is recorded also when this process is about to end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if result.Gone && err == nil {
		if err := s.forget(ctx, key, t); err != nil {
			run.Log.Warn("object cannot be forgotten yet", "err", err)
			return notConcluded
		}
		held.gone = true
		return gone
	}
	end, err := s.conclude(ctx, run, t, result, err)
	if err != nil {
		run.Log.Warn("run cannot be concluded, it comes again", "err", err)
		return notConcluded
	}
	return end
}

// execute calls the handler under a context that ends with the lock, with a span, and with panics caught.
func (s *Stage) execute(ctx context.Context, msg jetstream.Msg, run *Run, t trigger) (Result, error) {
	started := time.Now()
	s.rt.Metrics.started(s.Name, started.Sub(t.at))
	run.Log.Debug("run started", "cause", t.hint.Cause, "holder", s.rt.Holder, "lock", run.lock.revision)
	spanCtx, span := s.rt.Tracer.Start(t.traceParent(ctx), s.Name+" run", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("sluice.object", run.Key.String()), attribute.String("sluice.cause", t.hint.Cause),
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", bus.StreamWork+"/"+s.Name)))
	defer span.End()
	runCtx, stop := s.keepLock(spanCtx, msg, run)
	result, err := s.callHandler(runCtx, run)
	stop()
	if err != nil {
		span.SetStatus(codes.Error, "run failed")
	}
	s.rt.Metrics.finished(s.Name, outcome(err), time.Since(started))
	run.Log.Debug("run finished", "holder", s.rt.Holder, "took", time.Since(started).String(), "err", err)
	return result, err
}

func (s *Stage) callHandler(ctx context.Context, run *Run) (result Result, err error) {
	if run.lock.afterCrash {
		run.lock.afterCrash = false
		if err := s.noteCrash(ctx, run); err != nil {
			return Result{}, err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			run.Log.Error("run panicked", "err", err, "stack", string(debug.Stack()))
			s.report(ctx, run, err)
		}
	}()
	result, err = s.handler.Run(ctx, run)
	if err != nil && errors.Is(context.Cause(ctx), ErrLockLost) {
		err = fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return result, err
}

// noteCrash counts a run that ended with its process, and fails this one in its place when there were too many.
func (s *Stage) noteCrash(ctx context.Context, run *Run) error {
	run.record.Crashes++
	if err := run.write(ctx); err != nil {
		return err
	}
	if run.record.Crashes < crashLimit {
		return nil
	}
	err := fmt.Errorf("the last %d runs ended with their process", run.record.Crashes)
	s.report(ctx, run, err)
	return After(s.opts.Backoff.Delay(run.record.Crashes), err)
}

func (s *Stage) report(ctx context.Context, run *Run, err error) {
	defer func() {
		if p := recover(); p != nil {
			run.Log.Error("report panicked", "err", p)
		}
	}()
	if r, ok := s.handler.(Reporter); ok {
		r.Report(ctx, run, err)
	}
}

// keepLock renews the lock and the trigger's delivery until stop is called; the context ends when the lock cannot be kept.
func (s *Stage) keepLock(ctx context.Context, msg jetstream.Msg, run *Run) (context.Context, func()) {
	limited, cancelLimit := context.WithTimeoutCause(ctx, s.opts.RunLimit, errors.New("run took longer than "+s.opts.RunLimit.String()))
	runCtx, cancel := context.WithCancelCause(limited)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.opts.LockTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-runCtx.Done():
				return
			case <-tick.C:
			}
			if !s.renew(runCtx, run) {
				cancel(ErrLockLost)
				return
			}
			_ = msg.InProgress()
		}
	}()
	return runCtx, func() { cancel(nil); cancelLimit(); <-done }
}

// freshen renews a lock before a run where the next renewal is due already: short runs in a row never come to it, and a process that
// stood still may have lost the lock before its run began.
func (s *Stage) freshen(ctx context.Context, run *Run) bool {
	return run.lock.untilExpiry() > s.opts.LockTTL*2/3 || s.renew(ctx, run)
}

// renew tries until the lock is renewed, lost, or expired.
func (s *Stage) renew(ctx context.Context, run *Run) bool {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, run.lock.untilExpiry())
		err := run.lock.renew(try)
		cancel()
		if err == nil {
			return true
		}
		if errors.Is(err, ErrLockLost) || run.lock.guard() != nil {
			run.Log.Warn("lock lost, run ends", "err", err)
			return false
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return true
}
