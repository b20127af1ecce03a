package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// failure describes err for the object that it happened to.
func failure(id inventory.ID, doing string, err error) *ObjectError {
	e := &ObjectError{Object: id, Doing: doing, Kind: kindOf(err), Message: err.Error()}
	if status, ok := statusOf(err); ok {
		e.Code, e.Reason = int(status.Code), status.Reason
		if isSecret(id) {
			e.Message = maskedMessage(status)
		}
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	e.Message = shorten(e.Message, messageLimit)
	return e
}

func isSecret(id inventory.ID) bool { return id.Kind == "Secret" && id.Group == "" }

func statusOf(err error) (metav1.Status, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}, false
	}
	return status.Status(), true
}

// kindOf sorts an error by the API server's answer; an error without one means that none came.
func kindOf(err error) Kind {
	status, ok := statusOf(err)
	switch {
	case errors.As(err, new(*unknownKind)):
		return UnknownKind
	case errors.As(err, new(*malformed)):
		return Invalid
	case errors.As(err, new(*panicked)), isUnreadable(err):
		return Internal
	case !ok:
		return Unavailable
	}
	return kindOfStatus(status)
}

func isUnreadable(err error) bool {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &typed)
}

func kindOfStatus(s metav1.Status) Kind {
	switch code := int(s.Code); {
	case hasCause(s, corev1.NamespaceTerminatingCause), code == http.StatusConflict:
		return Conflict
	case isDenial(s), code == http.StatusUnauthorized, code == http.StatusForbidden:
		return Forbidden
	case code == http.StatusNotFound, code == http.StatusGone:
		return NotFound
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return Unavailable
	case isUntypable(s):
		return Invalid
	case code >= http.StatusInternalServerError:
		return Unavailable
	case code >= http.StatusBadRequest:
		return Invalid
	}
	return Internal
}

// isDenial reports whether an admission webhook refused. Webhooks choose their own status code, and
// what they refuse today they may allow tomorrow.
func isDenial(s metav1.Status) bool {
	return strings.HasPrefix(s.Message, "admission webhook ") && strings.Contains(s.Message, " denied the request") &&
		s.Code < http.StatusInternalServerError
}

// isUntypable reports whether the object does not fit its schema. The API server answers that with
// 500, as it would a failure of its own, but gives no reason.
func isUntypable(s metav1.Status) bool {
	return s.Code == http.StatusInternalServerError && s.Reason == "" &&
		(strings.HasPrefix(s.Message, "failed to create typed patch object") || strings.HasPrefix(s.Message, "failed to convert new object"))
}

// isUnserved reports whether the URL is not served: the kind is not, or not yet, or no more.
func isUnserved(err error) bool {
	status, ok := statusOf(err)
	return ok && status.Code == http.StatusNotFound &&
		(status.Details == nil || hasCause(status, metav1.CauseTypeUnexpectedServerResponse))
}

func hasCause(s metav1.Status, t metav1.CauseType) bool {
	if s.Details == nil {
		return false
	}
	for _, cause := range s.Details.Causes {
		if cause.Type == t {
			return true
		}
	}
	return false
}

// shorten cuts a text to at most limit bytes, between runes.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	cut := limit - len(" …")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " …"
}

// malformed says that an object cannot be sent at all.
type malformed struct{ reason string }

func (e *malformed) Error() string { return e.reason }

func malformedf(format string, args ...any) error {
	return &malformed{fmt.Sprintf(format, args...)}
}

// panicked is a panic while working on one object.
type panicked struct{ value any }

// Error does not show the value: it may have been made of the object.
func (e *panicked) Error() string { return fmt.Sprintf("panic (%T)", e.value) }
