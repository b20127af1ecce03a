package apply

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxTries is how often an object that others change all the time is tried with a precondition,
// before it is sent without one.
const maxTries = 4

// neverVersion is a resourceVersion that no object has. An apply with it creates an object that is
// not there, and conflicts with one that is.
const neverVersion = "1"

// attempt is the work on one object of a set.
type attempt struct {
	*run
	*desired
	// live is what is known of the object in the cluster, or nil if there is none. If it was not
	// taken from memory, managedFields is what it was seen with.
	live          *Seen
	managedFields []metav1.ManagedFieldsEntry
	// whole is the live object, where fields of it are left to others.
	whole map[string]any
	// known says that live is how the object was when it was last looked at. If not, it is to be
	// looked at.
	known bool
	// blind says that the next patch may only create.
	blind bool
	// before is the resourceVersion that was remembered, if any.
	before string
	// tries counts the patches; restless is set when a precondition failed.
	tries    int
	restless bool
	// note and changed are for the change that is reported; replaced says that a predecessor was
	// deleted.
	note              string
	changed, replaced bool
	// until is when the wait for a kind to be served, or a predecessor to go, is over; length is
	// the next pause.
	until  time.Time
	length time.Duration
}

// applyObject brings one object forward. A *pending error means that it has to wait.
func (r *run) applyObject(ctx context.Context, d *desired) (Change, error) {
	a := &attempt{run: r, desired: d, length: firstPause, until: time.Now().Add(r.engine.config.WaitTimeout)}
	switch {
	case d.policy.paused != "":
		return a.change(Skipped, "in Git "+d.policy.paused), nil
	case d.settled:
		return a.change(Unchanged, ""), nil
	case d.definition != nil && !d.definition.established:
		return Change{}, d.definition.waiting()
	case d.missing != nil:
		return Change{}, d.missing
	}
	a.recall()
	for {
		change, done, err := a.step(ctx)
		if err != nil {
			err = a.again(ctx, err)
		}
		if done || err != nil {
			return change, err
		}
	}
}

// recall takes what is known of the live object from memory, if the next patch can prove that it is
// still so.
func (a *attempt) recall() {
	seen, ok := a.engine.memory.get(a.id)
	if !ok {
		a.blind = a.options.New != nil && a.options.New(a.id)
		return
	}
	a.before = seen.ResourceVersion
	a.restless = seen.restless
	if len(a.ignored) > 0 {
		return // The values of the fields that are left to others have to be seen.
	}
	if !seen.restless && !seen.foreign && seen.policy.paused == "" && !a.policy.ifNotPresent {
		a.live, a.known = &seen, true
	}
}

// look reads the live object's metadata.
func (a *attempt) look(ctx context.Context) error {
	read := a.engine.client.get
	if len(a.ignored) > 0 {
		read = a.engine.client.getWhole
	}
	answer, err := read(ctx, a.at)
	switch {
	case apierrors.IsNotFound(err) && !isUnserved(err):
		a.live, a.known = nil, true
		return nil
	case err != nil:
		return err
	}
	a.observe(answer)
	if len(a.ignored) > 0 {
		if a.whole, err = parseWhole(answer.raw); err != nil {
			return err
		}
	}
	if a.tries == 0 && a.live.ResourceVersion == a.before {
		a.restless = false
	}
	return nil
}

// observe takes an answer as what is known of the live object.
func (a *attempt) observe(answer *answer) {
	seen := see(&answer.meta, a.id.GroupKind(), a.engine.config.FieldManager, a.options.Ignore)
	a.live, a.known, a.managedFields = &seen, true, answer.meta.ManagedFields
}

// step looks if need be and sends one patch, or finds that none is to be sent. It reports whether
// the work is done.
func (a *attempt) step(ctx context.Context) (Change, bool, error) {
	if !a.known && !a.blind {
		if err := a.look(ctx); err != nil {
			return Change{}, false, err
		}
	}
	if reason := a.leaveAlone(); reason != "" {
		a.engine.memory.forget(a.id)
		return a.change(Skipped, reason), true, nil
	}
	a.tries++
	if a.live != nil && a.live.foreign && !a.merges() {
		if err := a.takeOver(ctx); err != nil {
			return Change{}, false, err
		}
	}
	before := a.live
	answer, err := a.send(ctx)
	if err != nil {
		return Change{}, false, err
	}
	a.observe(answer)
	action := a.judge(answer.code, before)
	if a.live.foreign && !a.merges() && a.tries < maxTries {
		a.changed = a.changed || action.Changed()
		return Change{}, false, nil // Another tool's claims have just come to light.
	}
	return a.remember(action, answer), true, nil
}

// leaveAlone returns why the live object must not be touched, or nothing.
func (a *attempt) leaveAlone() string {
	switch {
	case a.live == nil:
		return ""
	case a.live.policy.paused != "":
		return "in the cluster " + a.live.policy.paused
	case a.policy.ifNotPresent:
		return "it is present"
	}
	return ""
}

func (a *attempt) merges() bool { return a.policy.merge || a.live.policy.merge }

func (a *attempt) send(ctx context.Context) (*answer, error) {
	precondition := ""
	if a.blind {
		precondition = neverVersion
	} else if a.live != nil && a.tries < maxTries {
		precondition = a.live.ResourceVersion
	}
	write := a.body
	if a.live != nil && len(a.ignored) > 0 {
		precondition, write = a.live.ResourceVersion, a.bodyOver // never without: values of others are in it
	}
	body, err := write(precondition)
	if err != nil {
		return nil, err
	}
	if err := a.guard(ctx); err != nil {
		return nil, err
	}
	return a.engine.client.apply(ctx, a.at, body, a.defines != nil)
}
