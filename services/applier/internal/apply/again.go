package apply

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// again decides whether the next step can do better after err. It returns nil if so, and otherwise
// the error to report.
func (a *attempt) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	switch {
	case a.blind:
		a.blind = false // Something is there, or went wrong on the way: look.
		return nil
	case a.isStale(err) && a.tries < maxTries:
		a.restless, a.known = true, false
		return nil
	case isUnserved(err):
		return a.awaitServed(ctx)
	case a.mayReplace(err):
		return a.replace(ctx, err)
	case a.isOldSchema(err):
		return &pending{a.definition.crd.id.Subject() + " was changed just now, and its old schema is still in use"}
	}
	return err
}

// isStale reports whether err means that the object is not as it was when it was last looked at.
func (a *attempt) isStale(err error) bool {
	return apierrors.IsConflict(err) || a.live != nil && apierrors.IsNotFound(err) && !isUnserved(err)
}

// awaitServed waits a little for a CRD of the same set to make its way to all API servers. A kind
// that is not served for another reason is looked up anew by the next run.
func (a *attempt) awaitServed(ctx context.Context) error {
	if a.definition == nil {
		a.engine.kinds.drop(a.gvk)
		return &unknownKind{a.gvk}
	}
	var more bool
	if a.length, more = pause(ctx, a.length, a.until); !more {
		return a.definition.waiting()
	}
	a.known = false
	return nil
}

// isOldSchema reports whether err can be due to an API server that has not seen yet how this run
// changed the object's CRD.
func (a *attempt) isOldSchema(err error) bool {
	status, _ := statusOf(err)
	return a.definition != nil && a.definition.changed && isUntypable(status)
}
