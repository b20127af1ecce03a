package apply

import (
	"net/http"
	"time"
)

// judge tells from the answer what the patch did to what was there before.
func (a *attempt) judge(code int, before *Seen) Action {
	after := a.live
	switch {
	case code == http.StatusCreated:
		return Created
	case a.changed || before == nil:
		return Configured
	case after.ResourceVersion == before.ResourceVersion:
		return Unchanged
	case a.tries >= maxTries && isUntouched(before, after, time.Now()):
		return Unchanged // Sent without precondition: the new version may be the work of others.
	}
	return Configured
}

// isUntouched reports whether our manager's entry says that we changed nothing. Its time is to the
// second and by the server's clock, so of an entry that is only just written it says nothing.
func isUntouched(before, after *Seen, now time.Time) bool {
	return after.OwnFields == before.OwnFields && after.OwnTime.Equal(before.OwnTime) &&
		now.Sub(after.OwnTime).Abs() > 5*time.Second
}

// remember keeps what the last answer said, and reports it.
func (a *attempt) remember(action Action, answer *answer) Change {
	seen := *a.live
	seen.Digest, seen.restless = a.digest, a.restless
	a.engine.memory.put(a.id, seen)
	if a.defines != nil {
		a.defines.observe(answer.raw)
		a.defines.changed = action.Changed()
	}
	change := a.change(action, a.note)
	change.Seen = seen
	return change
}

func (a *attempt) change(action Action, note string) Change {
	return Change{ID: a.id, Version: a.gvk.Version, Action: action, Note: note}
}
