package handler

import (
	"errors"
	"strings"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
)

// problem is why there is no new choice, as conditions tell it.
type problem struct {
	reason  string
	stalled bool          // nothing changes before the spec does
	keeps   bool          // what was chosen by the present rules stays, and the policy stays ready
	more    bool          // a part was done, and the next run goes on at once
	after   time.Duration // when to try again; zero for growing delays
	error
}

func (p *problem) Unwrap() error { return p.error }

func stalled(reason string, err error) error {
	return &problem{reason: reason, stalled: true, error: err}
}

func failed(reason string, err error) error { return &problem{reason: reason, error: err} }

func waiting(after time.Duration, err error) error {
	return &problem{reason: imagev1.DependencyNotReadyReason, keeps: true, after: after, error: err}
}

func goesOn(err error) error {
	return &problem{reason: imagev1.DependencyNotReadyReason, keeps: true, more: true, error: err}
}

// classify finds Flux's words for an error.
func classify(err error) *problem {
	var known *problem
	var access *imageaccess.Error
	var deferred *registry.Deferred
	var answer *registry.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, imagecache.ErrUnavailable):
		// The same words each time: the status of every object would be written anew otherwise.
		return &problem{
			reason: imagev1.ReadOperationFailedReason, keeps: true, after: 10 * time.Second,
			error: errors.New("the image cache is unavailable; it is tried again, and what was chosen stays"),
		}
	case errors.As(err, &access):
		return &problem{reason: access.Reason, stalled: access.Stalled, error: err}
	case errors.As(err, &deferred):
		return &problem{
			reason: imagev1.DependencyNotReadyReason, keeps: true, after: deferred.Wait,
			error: errors.New("waiting: the budget of requests to the registry is used up"),
		}
	case errors.Is(err, registry.ErrUnauthorized):
		return &problem{reason: imagev1.AuthenticationFailedReason, error: err}
	case errors.As(err, &answer):
		return &problem{reason: imagev1.ReadOperationFailedReason, after: answer.RetryAfter, error: err}
	}
	return &problem{reason: metav1.StatusFailure, error: err}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
