package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Kinds of errors, for errors.Is.
var (
	// ErrUnauthorized says that the credential, or having none, does not open the image.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrNotFound says that there is no such image, tag or digest, or none that the credential may see.
	ErrNotFound = errors.New("not found")
	// ErrTooManyRequests says that the registry wants fewer requests.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnavailable says that the registry does not answer, or answers that it cannot.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrMalformed says that the answer is none of a registry.
	ErrMalformed = errors.New("malformed answer")
	// ErrRefused says that we do not ask that: it would take a credential, or a request, where it must not go.
	ErrRefused = errors.New("refused")
)

// Error is a registry's answer that is no success.
type Error struct {
	Kind   error
	Host   string
	Status int // HTTP status
	// RetryAfter is how long the registry said to wait; zero where it did not.
	RetryAfter time.Duration
	// Detail is what the registry said, cut and cleaned.
	Detail string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v (%d)", e.Host, e.Kind, e.Status)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

func (e *Error) Unwrap() error { return e.Kind }

// Deferred says that a request would exceed the host's budget: come back after Wait.
type Deferred struct {
	Host string
	Wait time.Duration
}

func (d *Deferred) Error() string {
	return fmt.Sprintf("%s: the budget of requests is used up for %s", d.Host, d.Wait.Round(time.Millisecond))
}

func kindOf(status int) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrUnauthorized
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusTooManyRequests:
		return ErrTooManyRequests
	case status >= 500, status == http.StatusRequestTimeout:
		return ErrUnavailable
	}
	return ErrMalformed
}

// newError reads the answer's body, which it does not close.
func newError(host string, r *http.Response) *Error {
	e := &Error{Kind: kindOf(r.StatusCode), Host: host, Status: r.StatusCode, RetryAfter: retryAfter(r.Header, time.Now())}
	if body, err := readBounded(r.Body, 64<<10); err == nil {
		e.Detail = detail(body)
	}
	return e
}

// detail finds the words in an error's body.
func detail(body []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string } `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	first := answer.Errors[0]
	return clean(strings.TrimPrefix(first.Code+": "+first.Message, ": "))
}

// clean makes foreign words fit for a condition: one line, printable, short.
func clean(text string) string {
	const most = 200
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, ""))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.TrimSpace(text)
}
