package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/notifier/internal/outbox"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

const (
	// longRun is how long a run goes on before it makes place for the next.
	longRun = 20 * time.Second
	// noteTime is how long it may take to note that a message was sent, also when the process is to end.
	noteTime = 4 * time.Second
	// maxSend bounds one message, so that a process that is to end has the time to note it.
	maxSend = 30 * time.Second
	// endSend is how long a message under way is waited for when the process is to end.
	endSend = 5 * time.Second
	// downAfter is how many messages in a row may fail before the service counts as down.
	downAfter = 2
	// firstBack and maxBack are how long a service that is down is left alone.
	firstBack, maxBack = 2 * time.Second, time.Hour
	// slowest is the longest time between two tries where the service did not ask for more.
	slowest = 5 * time.Minute
)

// errStop ends a run's sending.
var errStop = errors.New("nothing more can be sent now")

// tell sends what is to be sent now.
func (j *job) tell(ctx context.Context) (stage.Result, error) {
	parcels, next, err := j.plan(ctx)
	if err != nil {
		return stage.Result{}, err
	}
	d := &delivery{job: j, started: time.Now(), blocked: map[string]bool{}}
	if err := d.deliverAll(ctx, parcels); err != nil {
		return stage.Result{}, err
	}
	if err := d.conclude(ctx); err != nil {
		return stage.Result{}, err
	}
	return d.result(next), nil
}

// delivery is one run's sending.
type delivery struct {
	*job
	started time.Time

	mu      sync.Mutex // of all that follows and of known, held for moments only
	stopped bool       // nothing more is sent by this run
	sent    int
	failed  []*outbox.Parcel
	why     error           // of the last failure
	blocked map[string]bool // objects and groups whose earlier message could not be told
	next    time.Duration   // when to go on; zero for when something comes
}

// deliverAll sends messages in their order; through a sender to which several may be under way at once, those of one object or group in theirs.
func (d *delivery) deliverAll(ctx context.Context, parcels []outbox.Parcel) error {
	work := make(chan []*outbox.Parcel)
	errs := make([]error, max(1, d.traits.Parallel))
	var senders sync.WaitGroup
	for i := range errs {
		senders.Go(func() {
			for queue := range work {
				if err := d.deliverQueue(ctx, queue); err != nil && !errors.Is(err, errStop) {
					errs[i] = err
				}
			}
		})
	}
	for _, queue := range queues(parcels, d.traits.Parallel > 1) {
		work <- queue
	}
	close(work)
	senders.Wait()
	return errors.Join(errs...)
}

func (d *delivery) deliverQueue(ctx context.Context, queue []*outbox.Parcel) error {
	for _, p := range queue {
		if err := d.deliver(ctx, p); err != nil {
			d.stop()
			return err
		}
	}
	return nil
}

// queues are messages that may be sent beside those of other queues.
func queues(parcels []outbox.Parcel, parallel bool) [][]*outbox.Parcel {
	var out [][]*outbox.Parcel
	at := map[string]int{}
	for i := range parcels {
		name := ""
		if parallel {
			name = parcels[i].Name()
		}
		if _, known := at[name]; !known {
			at[name] = len(out)
			out = append(out, nil)
		}
		out[at[name]] = append(out[at[name]], &parcels[i])
	}
	return out
}

func (d *delivery) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

func (d *delivery) again(after time.Duration) {
	if after = max(after, 10*time.Millisecond); d.next == 0 || after < d.next {
		d.next = after
	}
}

// result says when to go on: with what was planned, or earlier.
func (d *delivery) result(planned time.Duration) stage.Result {
	if planned > 0 {
		d.again(planned)
	}
	if left := d.known.NotBefore.Sub(d.sending.Clock.Now()); left > 0 {
		d.next = left
	}
	if d.next == 0 {
		return stage.Result{}
	}
	return stage.Result{Next: max(d.sending.Clock.Wait(d.next), 10*time.Millisecond), Exact: true, Idle: d.sent == 0}
}

// begin says whether a message may be sent now.
func (d *delivery) begin(ctx context.Context, name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopped:
		return false, errStop
	case d.blocked[name]:
		return false, nil
	case ctx.Err() != nil || time.Since(d.started) > longRun:
		d.again(0)
		return false, errStop
	}
	if wait := d.take(); wait > 0 {
		d.again(wait)
		return false, errStop
	}
	return true, d.run.Guard()
}

// deliver sends one message and notes what came of it.
func (d *delivery) deliver(ctx context.Context, p *outbox.Parcel) error {
	if p.Silent {
		return d.settle(ctx, p, "")
	}
	if ok, err := d.begin(ctx, p.Name()); !ok || err != nil {
		return err
	}
	receipt, err := d.try(ctx, p)
	// What was sent is noted also when this process is about to end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	refusal, refused := errors.AsType[*provider.Refusal](err)
	busy, isBusy := errors.AsType[*provider.Busy](err)
	switch {
	case errors.Is(err, errCut):
		d.mu.Lock()
		defer d.mu.Unlock()
		d.again(0)
		return errStop
	case err == nil:
		return d.noteSent(ctx, p, receipt)
	case isBusy:
		return d.leaveAlone(ctx, p, busy)
	case refused && !refusal.Login:
		return d.refused(ctx, p, refusal)
	}
	return d.notSent(ctx, p, err)
}

// leaveAlone is about a service that asks for that.
func (d *delivery) leaveAlone(ctx context.Context, p *outbox.Parcel, busy *provider.Busy) error {
	d.mu.Lock()
	d.known.NotBefore = d.sending.Clock.Now().Add(min(max(busy.After, firstBack), maxBack))
	d.mu.Unlock()
	d.metrics.failed.WithLabelValues(d.run.Key.String()).Inc()
	d.run.Log.Info("channel asks to be left alone", "after", busy.After.String())
	return cmp.Or(d.buryExpired(ctx, p, busy), errStop)
}

// errCut says that the process ends before it is known whether a message was taken.
var errCut = errors.New("cut short by the end of the process")

// try sends one message. A process that is to end waits for the answer a while: not to know it may mean to tell twice.
func (d *delivery) try(ctx context.Context, p *outbox.Parcel) (provider.Receipt, error) {
	if p.ContextError != nil {
		return provider.Receipt{}, &provider.Refusal{Reason: "spec.commitStatusExpr: " + oneLine(p.ContextError)}
	}
	send, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxSend)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(endSend, cancel) })
	defer stop()
	message := p.Message
	message.Alert = provider.Alert{Namespace: p.Alert.Namespace, Name: p.Alert.Name, UID: string(p.Alert.UID)}
	receipt, err := d.send.Send(send, message)
	if err != nil && ctx.Err() != nil && send.Err() != nil {
		return receipt, errCut
	}
	return receipt, err
}

// noteSent notes that a message was sent.
func (d *delivery) noteSent(ctx context.Context, p *outbox.Parcel, receipt provider.Receipt) error {
	d.mu.Lock()
	d.sent++
	d.mu.Unlock()
	d.metrics.sent.WithLabelValues(d.run.Key.String()).Inc()
	if p.TemplateError != nil {
		d.alerts.warn(p.Alert.Alert, reasonInvalid, "the usual text was sent instead of the template's: "+oneLine(p.TemplateError))
	}
	d.alerts.forget(p.Alert.UID, reasonFailed)
	return d.settle(ctx, p, receipt.ID)
}

// settle notes what was told, in one write, and removes the letters of that.
func (d *delivery) settle(ctx context.Context, p *outbox.Parcel, receipt string) error {
	if err := d.note(ctx, p, receipt); err != nil {
		return err
	}
	return d.dropEntries(ctx, p.Entries)
}

// note writes what is remembered of a message: of an object's in one part; of a group's first that it was told, then what that means for the
// failures of objects.
func (d *delivery) note(ctx context.Context, p *outbox.Parcel, receipt string) error {
	if p.GroupID == "" {
		t := p.Told[p.Object]
		t.Receipt = cmp.Or(receipt, t.Receipt)
		return d.run.SavePart(ctx, toldPart(p.Alert, p.Object), t)
	}
	g := p.Group
	if !p.Aside {
		g.Receipt = cmp.Or(receipt, g.Receipt)
	}
	if err := d.run.SavePart(ctx, groupPart(p.Alert, p.GroupID), g); err != nil {
		return err
	}
	for object, t := range p.Told {
		if err := d.run.SavePart(ctx, toldPart(p.Alert, object), t); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) dropEntries(ctx context.Context, entries []*outbox.Entry) error {
	list := make([]bus.Letter, len(entries))
	for i, e := range entries {
		list[i] = e.Letter
	}
	return d.dropLetters(ctx, list)
}

// refused makes dead letters of what the service will never take.
func (d *delivery) refused(ctx context.Context, p *outbox.Parcel, why error) error {
	d.metrics.failed.WithLabelValues(d.run.Key.String()).Inc()
	d.alerts.warn(p.Alert.Alert, reasonFailed, fmt.Sprintf("failed to send notification through %s: %s", d.run.Key.Name, oneLine(why)))
	if err := d.bury(ctx, p.Entries, why); err != nil {
		return err
	}
	if len(p.Entries) == 0 { // a message on the way: its changes are told with the next one
		d.mu.Lock()
		d.blocked[p.Name()] = true
		d.mu.Unlock()
		return d.note(ctx, p, "")
	}
	return nil
}

// notSent is about a failure that may pass. Where several messages fail and none is taken, the others are not tried.
func (d *delivery) notSent(ctx context.Context, p *outbox.Parcel, why error) error {
	d.metrics.failed.WithLabelValues(d.run.Key.String()).Inc()
	d.alerts.warn(p.Alert.Alert, reasonFailed, fmt.Sprintf("failed to send notification through %s, it is tried again: %s", d.run.Key.Name, oneLine(why)))
	if err := d.buryExpired(ctx, p, why); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked[p.Name()] = true
	d.failed, d.why = append(d.failed, p), why
	if d.isDown() {
		return errStop
	}
	return nil
}

// isDown says whether it is the service that fails, not a message.
func (d *delivery) isDown() bool {
	return d.sent == 0 && len(d.failed) > 0 && len(d.failed)+d.retries >= downAfter
}

// conclude notes when what failed is tried again: all of it where the service is down, otherwise each message by itself.
func (d *delivery) conclude(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if d.isDown() {
		d.known.Downs++
		d.known.NotBefore = d.sending.Clock.Now().Add(patience(d.known.Downs))
		d.run.Log.Warn("channel cannot be told anything, trying on", "tries", d.known.Downs, "err", d.why)
		return nil
	}
	if d.sent > 0 {
		d.known.Downs = 0
	}
	for _, p := range d.failed {
		after := patience(p.Tries() + 1)
		d.again(after)
		d.run.Log.Warn("message was not taken, trying on", "about", cmp.Or(p.Object, p.GroupID), "tries", p.Tries()+1, "err", d.why)
		if err := d.noteTry(ctx, p, d.sending.Clock.Now().Add(after)); err != nil {
			return err
		}
	}
	return nil
}

// noteTry keeps when a message is tried again that fails while others are sent.
func (d *delivery) noteTry(ctx context.Context, p *outbox.Parcel, after time.Time) error {
	if p.GroupID != "" {
		var g outbox.Group
		if _, err := d.run.LoadPart(ctx, groupPart(p.Alert, p.GroupID), &g); err != nil {
			return err
		}
		g.Tries, g.After = g.Tries+1, after
		return d.run.SavePart(ctx, groupPart(p.Alert, p.GroupID), g)
	}
	var t outbox.Told
	if _, err := d.run.LoadPart(ctx, toldPart(p.Alert, p.Object), &t); err != nil {
		return err
	}
	t.Tries, t.After = t.Tries+1, after
	return d.run.SavePart(ctx, toldPart(p.Alert, p.Object), t)
}

// patience is how long to wait after so many failures in a row.
func patience(failures int) time.Duration {
	return stage.Backoff{Base: firstBack, Max: slowest}.Delay(failures)
}

// buryExpired makes dead letters of what was tried for too long.
func (d *delivery) buryExpired(ctx context.Context, p *outbox.Parcel, why error) error {
	old := slices.DeleteFunc(slices.Clone(p.Entries), func(e *outbox.Entry) bool { return !d.expired(e) })
	return d.bury(ctx, old, why)
}

// take uses one message of the service's rate, or says how long to wait for it.
func (d *delivery) take() time.Duration {
	every, burst := d.traits.Every, float64(max(d.traits.Burst, 1))
	if every <= 0 {
		return 0
	}
	now := d.sending.Clock.Now()
	if d.known.At.IsZero() {
		d.known.Tokens = burst
	} else if gone := now.Sub(d.known.At); gone > 0 {
		d.known.Tokens = min(burst, d.known.Tokens+float64(gone)/float64(every))
	}
	d.known.At = now
	if d.known.Tokens < 1 {
		return time.Duration((1 - d.known.Tokens) * float64(every))
	}
	d.known.Tokens--
	return 0
}
