package registry

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBlock bounds what a registry's headers can make us wait.
const maxBlock = time.Hour

// retryAfter reads Retry-After, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		return bounded(seconds)
	}
	if at, err := http.ParseTime(value); err == nil {
		return bounded(at.Sub(now).Seconds())
	}
	return 0
}

func bounded(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // also not a number
		return 0
	case seconds > maxBlock.Seconds():
		return maxBlock
	}
	return time.Duration(seconds * float64(time.Second))
}

// quota is what rate-limit headers say.
type quota struct {
	limit, remaining float64
	window           float64 // seconds that limit is for; zero if unknown
	reset            float64 // seconds until it is full; zero if unknown
}

// readQuota reads the headers of Docker Hub (ratelimit-limit: 100;w=21600), of the drafts of the IETF (RateLimit-Remaining,
// RateLimit-Reset, RateLimit: "default";r=50;t=30) and of GitHub and GitLab (X-RateLimit-Reset, a time).
func readQuota(h http.Header, now time.Time) (quota, bool) {
	for _, prefix := range []string{"Ratelimit-", "X-Ratelimit-"} {
		remaining, _, ok := number(h.Get(prefix + "Remaining"))
		if !ok {
			continue
		}
		q := quota{remaining: remaining}
		q.limit, q.window, _ = number(h.Get(prefix + "Limit"))
		if reset, _, ok := number(h.Get(prefix + "Reset")); ok {
			q.reset = seconds(reset, now)
		}
		return q, true
	}
	return combined(h.Get("RateLimit"))
}

// seconds reads a reset, which may be a span or a point in time.
func seconds(reset float64, now time.Time) float64 {
	if reset > 1e9 {
		return max(0, reset-float64(now.Unix()))
	}
	return reset
}

// number reads a number and its parameter w, as in 100;w=21600.
func number(value string) (n, window float64, ok bool) {
	first, rest, _ := strings.Cut(value, ";")
	first, _, _ = strings.Cut(first, ",")
	n, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	for part := range strings.SplitSeq(rest, ";") {
		if w, found := strings.CutPrefix(strings.TrimSpace(part), "w="); found {
			window, _ = strconv.ParseFloat(w, 64)
		}
	}
	return n, window, err == nil
}

// combined reads the header of the later drafts: one list of policies with r for remaining and t for the reset.
func combined(value string) (quota, bool) {
	q, found := quota{}, false
	for part := range strings.SplitSeq(value, ";") {
		key, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		switch key {
		case "r":
			q.remaining, found = n, true
		case "t":
			q.reset = n
		}
	}
	return q, found
}

// pauseFor is how long to leave a host alone by its quota: with nothing left, until there is something again; when little is left,
// so that it lasts.
func (q quota) pauseFor() time.Duration {
	switch {
	case q.remaining >= 1 && (q.limit <= 0 || q.remaining > q.limit/20 || q.reset <= 0):
		return 0
	case q.remaining >= 1:
		return bounded(q.reset / (q.remaining + 1))
	case q.reset > 0:
		return bounded(q.reset)
	case q.window > 0 && q.limit > 0:
		return bounded(q.window / q.limit)
	}
	return 0
}
