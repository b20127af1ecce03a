package apply

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Options are what one run is about.
type Options struct {
	// Owner is the Kustomization whose set it is.
	Owner Owner
	// Force replaces objects to which a change is refused, as if each had the annotation for it.
	Force bool
	// Guard is called before every request that changes something, from several goroutines at once.
	// Its error stops the run. Nil guards nothing.
	Guard func() error
	// Settled is asked before an object is worked on, with the digest of what would be sent. If it
	// knows for sure that the object is in the cluster as that was last applied, it says so, and the
	// object is reported as unchanged without a request. Nil knows nothing.
	Settled func(id inventory.ID, digest string) bool
	// New says of an object that it was never applied, so that it is probably not in the cluster: it
	// is sent at first under the condition that it is not there, which saves looking. Nil knows none.
	New func(id inventory.ID) bool
	// Ignore are the fields that are left to others.
	Ignore []IgnoreRule
}

// Owner is a Kustomization. Its labels are on every object it applies.
type Owner struct{ Name, Namespace string }

// mark adds the owner's labels.
func (o Owner) mark(labels map[string]string) map[string]string {
	if o == (Owner{}) {
		return labels
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelOwnerName], labels[labelOwnerNamespace] = o.Name, o.Namespace
	return labels
}

// owns reports whether labels are those of the owner. No owner owns nothing.
func (o Owner) owns(labels map[string]string) bool {
	return o.Name != "" && labels[labelOwnerName] == o.Name && labels[labelOwnerNamespace] == o.Namespace
}

// run is one call of Apply or Prune.
type run struct {
	engine  *Engine
	options Options
	started time.Time
	// end ends the context of the run, with the reason.
	end context.CancelCauseFunc
	// deadline is when the run stops waiting for definitions. It is set when the first is waited for.
	deadline func() time.Time
	// outages counts what shows that the API server cannot be reached. From outageLimit on, no
	// further object is begun.
	outages atomic.Int32
}

func (e *Engine) newRun(ctx context.Context, o Options) (context.Context, *run) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, &run{
		engine: e, options: o, started: time.Now(), end: end,
		deadline: sync.OnceValue(func() time.Time { return time.Now().Add(e.config.WaitTimeout) }),
	}
}

// guard is called before every request that changes something.
func (r *run) guard(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.options.Guard == nil {
		return nil
	}
	if err := r.options.Guard(); err != nil {
		err := &stopped{err}
		r.end(err)
		return err
	}
	return nil
}

// each works on n objects side by side and returns the error of each, nil for those that went well.
// It returns after the last one began and ended. Objects that were not begun have errNotBegun.
func (r *run) each(ctx context.Context, n int, work func(i int) error) []error {
	errs := make([]error, n)
	var working sync.WaitGroup
	for i := range n {
		if r.engine.acquire(ctx) != nil {
			errs[i] = errNotBegun
			continue
		}
		if r.outages.Load() >= outageLimit {
			r.engine.release()
			errs[i] = errNotBegun
			continue
		}
		working.Go(func() {
			defer r.engine.release()
			errs[i] = protect(func() error { return work(i) })
			r.noteOutage(errs[i])
		})
	}
	working.Wait()
	return errs
}

var errNotBegun = errors.New("not begun")

// protect turns a panic into an error: one object must not take all others down with it.
func protect(work func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value}
		}
	}()
	return work()
}

// outageLimit is how many requests may run into their timeout before a run gives up: a few can be
// due to a slow webhook. One that cannot be sent at all is enough.
const outageLimit = 3

func (r *run) noteOutage(err error) {
	var failed *url.Error
	switch {
	case !errors.As(err, &failed):
	case failed.Timeout():
		r.outages.Add(1)
	default:
		r.outages.Add(outageLimit)
	}
}

// collect sorts the errors of objects: failures, and the objects that were not begun.
func collect(ids []inventory.ID, errs []error, doing string) *Failures {
	var f Failures
	for i, err := range errs {
		switch {
		case err == nil || errors.As(err, new(*pending)):
		case err == errNotBegun:
			f.Skipped++
		default:
			f.Objects = append(f.Objects, failure(ids[i], doing, err))
		}
	}
	if len(f.Objects) == 0 {
		return nil
	}
	return &f
}
