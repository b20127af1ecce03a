package stage

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// concludePart records a run that goes on: not for its trigger, which stands until there is another.
func (s *Stage) concludePart(ctx context.Context, run *Run) error {
	rec := run.record
	rec.Failures, rec.Crashes = 0, 0
	if run.gotForward() {
		rec.Budget.Tokens += 1 - partCost
	}
	return run.write(ctx)
}

// goOn wakes an object whose run did a part: behind all that wait now. A newer trigger than that of the run does as well, and as the run is not
// recorded for its own, that one wakes the object where this process gets no further.
func (s *Stage) goOn(ctx context.Context, msg jetstream.Msg, key types.NamespacedName, t trigger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	header := Hint{Cause: "more", Generation: t.hint.Generation}.header(t.traceParent(ctx))
	if err := s.rt.Bus.TriggerAfter(ctx, s.Name, key, header, t.seq); err != nil && !errors.Is(err, bus.ErrConflict) {
		s.log.Warn("object does not go on yet", "object", key.String(), "err", err)
		_ = msg.NakWithDelay(busyDelay)
		return
	}
	_ = msg.Ack()
}
