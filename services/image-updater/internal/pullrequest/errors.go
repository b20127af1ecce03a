package pullrequest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// RateLimitError says that the host wants to be left alone for a while.
type RateLimitError struct {
	Until time.Time // when to come back; a minute from now when the host does not say
}

// Error says until when.
func (e *RateLimitError) Error() string {
	return fmt.Sprintf("git host limits requests until %s", e.Until.UTC().Format(time.RFC3339))
}

// Longest and usual times to stay away.
const (
	longestLimit = time.Hour
	usualLimit   = time.Minute
)

// failure turns an answer that is no success into an error.
func failure(answer *http.Response, body []byte, now time.Time) error {
	message := plain.Line(string(body), 300)
	switch code := answer.StatusCode; {
	case limited(answer, message):
		return &RateLimitError{Until: limitEnd(answer.Header, now)}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
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

// limited tells rate limits from lacking rights, for which GitHub uses 403 too.
func limited(answer *http.Response, message string) bool {
	h := answer.Header
	switch answer.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return h.Get("Retry-After") != "" || h.Get("X-RateLimit-Remaining") == "0" || strings.Contains(strings.ToLower(message), "secondary rate limit")
	case http.StatusServiceUnavailable:
		return h.Get("Retry-After") != ""
	}
	return false
}

func limitEnd(h http.Header, now time.Time) time.Time {
	end := now.Add(usualLimit)
	if s, err := strconv.ParseInt(h.Get("Retry-After"), 10, 64); err == nil && s >= 0 && s < int64(longestLimit/time.Second) {
		end = now.Add(time.Duration(s) * time.Second)
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		end = at
	} else if s, err := strconv.ParseInt(first(h, "X-RateLimit-Reset", "RateLimit-Reset"), 10, 64); err == nil {
		end = time.Unix(s, 0)
		if s < now.Unix()/2 { // some say seconds from now
			end = now.Add(time.Duration(min(max(s, 0), int64(longestLimit/time.Second))) * time.Second)
		}
	}
	if end.Before(now) || end.After(now.Add(longestLimit)) {
		return now.Add(usualLimit)
	}
	return end
}

func first(h http.Header, names ...string) string {
	for _, n := range names {
		if v := h.Get(n); v != "" {
			return v
		}
	}
	return ""
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
