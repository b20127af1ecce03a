package stage

import (
	"errors"
	"time"
)

// ErrLockLost is the cause of a run's end when its lock could not be renewed: another replica may have the object by now.
var ErrLockLost = errors.New("lock lost")

// Any error that a handler returns means: try again, with growing delays. These kinds say otherwise.
type kindError struct {
	error
	stall bool
	after time.Duration
}

func (e *kindError) Unwrap() error { return e.error }

// Stall says that trying again is of no use until somebody changes the object or its inputs: no next run is armed.
func Stall(err error) error { return &kindError{error: err, stall: true} }

// After says that the run failed and shall be tried again after d, which does not grow.
func After(d time.Duration, err error) error { return &kindError{error: err, after: d} }

// IsStall says whether err, or what it wraps, came from Stall.
func IsStall(err error) bool {
	var k *kindError
	return errors.As(err, &k) && k.stall
}

// retryAfter is the fixed delay that err asks for, zero when it asks for none.
func retryAfter(err error) time.Duration {
	var k *kindError
	if errors.As(err, &k) {
		return k.after
	}
	return 0
}
