package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Kind says what sort of failure an error is, so that the caller can choose when to try again.
type Kind string

// The kinds, the most hopeful first: the soonest to go away by themselves.
const (
	// Stopped: the guard or the context ended the run.
	Stopped Kind = "stopped"
	// Unavailable: the API server, or a webhook it calls, did not answer or asked for patience.
	Unavailable Kind = "unavailable"
	// Conflict: somebody else is changing or deleting the object or its namespace.
	Conflict Kind = "conflict"
	// UnknownKind: the API server does not serve the kind; its CRD may still come.
	UnknownKind Kind = "unknown kind"
	// NotFound: something that the object needs is not there, as a rule its namespace.
	NotFound Kind = "not found"
	// Forbidden: our user may not do this, a quota is used up, or an admission webhook refused.
	Forbidden Kind = "forbidden"
	// Internal: a bug in this package.
	Internal Kind = "internal"
	// Invalid: the API server will refuse the object until it is changed.
	Invalid Kind = "invalid"
)

var byHope = []Kind{Stopped, Unavailable, Conflict, UnknownKind, NotFound, Forbidden, Internal, Invalid}

// Retryable reports whether trying again can help though the object stays the same.
func (k Kind) Retryable() bool { return k != Invalid && k != "" }

// KindOf returns the kind of an error of this package, and Internal for any other. For several
// failures it is the most hopeful one. Nil has no kind.
func KindOf(err error) Kind {
	var failures *Failures
	var object *ObjectError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &failures):
		return failures.Kind()
	case errors.As(err, &object):
		return object.Kind
	case errors.As(err, new(*stopped)), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Stopped
	}
	return Internal
}

// ObjectError is a failure of one object. Its text never holds values of a Secret.
type ObjectError struct {
	Object inventory.ID
	// Doing is what was being done: "apply", "look up", "delete", …
	Doing string
	Kind  Kind
	// Code is the HTTP status, 0 if there was no answer. Reason is the API server's word for it.
	Code   int
	Reason metav1.StatusReason
	// Message is the API server's, at most messageLimit bytes long.
	Message string
	// RetryAfter is how long the API server asked to be left alone; 0 if it did not.
	RetryAfter time.Duration
}

func (e *ObjectError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.Doing, e.Object.Subject(), e.Message)
}

// messageLimit and textLimit bound, in bytes, one failure's message and the text of all of them.
const (
	messageLimit = 1 << 10
	textLimit    = 8 << 10
)

// Failures are the objects that failed in one run, in the order of the run.
type Failures struct {
	Objects []*ObjectError
	// Skipped is how many objects were not tried because of these failures.
	Skipped int
}

// Error names as many failures as fit.
func (f *Failures) Error() string {
	var text strings.Builder
	for i, object := range f.Objects {
		line := object.Error()
		if text.Len()+len(line) > textLimit {
			fmt.Fprintf(&text, "; and %d more failures", len(f.Objects)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(line)
	}
	return text.String()
}

// Unwrap lets errors.As find the failures one by one.
func (f *Failures) Unwrap() []error {
	errs := make([]error, len(f.Objects))
	for i, object := range f.Objects {
		errs[i] = object
	}
	return errs
}

// Kind returns the most hopeful kind among the failures: while one of them may go away by itself,
// trying again brings the set forward.
func (f *Failures) Kind() Kind {
	has := map[Kind]bool{}
	for _, object := range f.Objects {
		has[object.Kind] = true
	}
	for _, kind := range byHope {
		if has[kind] {
			return kind
		}
	}
	return Internal
}

// RetryAfter returns the longest time that the API server asked to be left alone.
func (f *Failures) RetryAfter() time.Duration {
	var longest time.Duration
	for _, object := range f.Objects {
		longest = max(longest, object.RetryAfter)
	}
	return longest
}

// stopped is the error of a run that its guard ended.
type stopped struct{ cause error }

func (e *stopped) Error() string { return "stopped by the guard: " + e.cause.Error() }
func (e *stopped) Unwrap() error { return e.cause }

// pending says that an object has to wait for something that is under way.
type pending struct{ reason string }

func (e *pending) Error() string { return e.reason }
