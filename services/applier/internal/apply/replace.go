package apply

import (
	"context"
	"fmt"
	"net/http"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// mayReplace reports whether the object asks to be replaced, and err is a refusal that this could
// help against.
func (a *attempt) mayReplace(err error) bool {
	asked := a.options.Force || a.policy.force || a.live != nil && a.live.policy.force
	status, ok := statusOf(err)
	return asked && ok && a.live != nil && !a.replaced &&
		(status.Code == http.StatusUnprocessableEntity || isImmutableText(status.Message))
}

// immutable matches what API servers, CRDs' rules and webhooks say of fields that cannot change.
var immutable = regexp.MustCompile(`\bimmutable\b|may not (?:be )?change|cannot (?:be )?change`)

func isImmutableText(message string) bool { return immutable.MatchString(message) }

// replace deletes the live object, so that the next step creates it. The status of refusals does
// not tell an immutable field from an object that is wrong in itself, and to delete an object that
// cannot be created again would be an outage. So the server is asked first: an object that exists is
// checked like a new one before it is found to exist, and only what passes the check is deleted.
func (a *attempt) replace(ctx context.Context, refusal error) error {
	ok, err := a.isCreatable(ctx, isImmutableText(refusal.Error()))
	if err != nil {
		return err
	}
	if !ok {
		return refusal
	}
	if err := a.guard(ctx); err != nil {
		return err
	}
	err = a.engine.client.delete(ctx, a.at, a.live.UID)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete it to create it anew: %w", err)
	}
	a.engine.memory.forget(a.id)
	a.replaced, a.note = true, "it was replaced, as the change was refused: "+a.refusal(refusal)
	return a.awaitGone(ctx)
}

// isCreatable reports whether the API server would accept the object if it were new. If a webhook
// keeps it from saying so, then likely decides.
func (a *attempt) isCreatable(ctx context.Context, likely bool) (bool, error) {
	body, err := a.body("")
	if err != nil {
		return false, err
	}
	err = a.engine.client.tryCreate(ctx, a.at, body)
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return true, nil
	case apierrors.IsInvalid(err):
		return false, nil
	case apierrors.IsBadRequest(err):
		return likely, nil
	}
	return false, fmt.Errorf("ask whether it could be created anew: %w", err)
}

// refusal returns the text of an error without what must not be shown.
func (a *attempt) refusal(err error) string { return failure(a.id, "apply", err).Message }

// awaitGone looks until the deleted object is gone.
func (a *attempt) awaitGone(ctx context.Context) error {
	uid := a.live.UID
	for more := true; more; {
		if err := a.look(ctx); err != nil {
			return err
		}
		if a.live == nil || a.live.UID != uid {
			a.tries, a.changed = 0, false
			return nil
		}
		a.length, more = pause(ctx, a.length, a.until)
	}
	return &pending{"its predecessor is being deleted"}
}
