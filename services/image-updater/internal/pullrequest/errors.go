package pullrequest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/githost"
	"github.com/sluice-cd/sluice/libs/plain"
)

// Kinds of errors, for errors.Is.
var (
	// ErrInvalid is about a draft, a branch or settings that no host would take.
	ErrInvalid = errors.New("invalid pull request")
	// ErrExists says that there is an open request for the branches already.
	ErrExists = errors.New("pull request exists")
	// ErrNoDifference says that head has nothing that base has not.
	ErrNoDifference = errors.New("no difference between head and base")
	// ErrUnauthorized says that the credentials do not suffice.
	ErrUnauthorized = errors.New("not authorized at the git host")
	// ErrNotFound says that there is no such repository or request, or that the
	// credentials may not see it.
	ErrNotFound = errors.New("not found at the git host")
	// ErrUnsupported says that the host cannot do this.
	ErrUnsupported = errors.New("not supported by the git host")
	// ErrRefused says that the host understood and does not want to.
	ErrRefused = errors.New("refused by the git host")
	// ErrUnavailable says that the host failed or cannot be reached: try again.
	ErrUnavailable = errors.New("git host unavailable")
)

// errForbidden is an answer of 403.
var errForbidden = fmt.Errorf("%w: forbidden", ErrUnauthorized)

// RateLimitError says that the host wants to be left alone for a while.
type RateLimitError struct {
	Until time.Time // when to come back; a minute from now when the host does not say
}

// Error says until when.
func (e *RateLimitError) Error() string {
	return fmt.Sprintf("git host limits requests until %s", e.Until.UTC().Format(time.RFC3339))
}

// failure turns an answer that is no success into an error.
func failure(answer *http.Response, body []byte, now time.Time) error {
	message := plain.Line(string(body), 300)
	if until, limited := githost.Limit(answer, message, now); limited {
		return &RateLimitError{Until: until}
	}
	switch code := answer.StatusCode; {
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: %s: %s", errForbidden, answer.Status, message)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w: %s: %s", ErrUnauthorized, answer.Status, message)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: %s", ErrNotFound, answer.Status)
	case saysExists(answer.StatusCode, message):
		return fmt.Errorf("%w: %s", ErrExists, message)
	case saysNoDifference(message):
		return fmt.Errorf("%w: %s", ErrNoDifference, message)
	case code >= 500 || code == http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s", ErrUnavailable, answer.Status)
	}
	return fmt.Errorf("%w: %s: %s", ErrRefused, answer.Status, message)
}

func saysExists(code int, message string) bool {
	m := strings.ToLower(message)
	return code < 500 && (strings.Contains(m, "already exists") || strings.Contains(m, "another open merge request") ||
		strings.Contains(m, "duplicatepullrequest") || strings.Contains(m, "tf401179") || strings.Contains(m, "pull request already"))
}

func saysNoDifference(message string) bool {
	m := strings.ToLower(message)
	for _, s := range []string{"no commits between", "no changes between", "there are no changes", "emptypullrequest", "is already up-to-date", "already up to date", "no difference"} {
		if strings.Contains(m, s) {
			return true
		}
	}
	return false
}
