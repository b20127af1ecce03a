package githost

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Longest and usual times to stay away.
const (
	longestLimit = time.Hour
	usualLimit   = time.Minute
)

// Limit reports whether an answer is a rate limit, and until when to stay away: a minute when the host does not say, an hour at most. It
// tells limits from lacking rights, for which GitHub answers 403 too. message is the answer's body or its beginning.
func Limit(answer *http.Response, message string, now time.Time) (until time.Time, limited bool) {
	if !isLimit(answer, message) {
		return time.Time{}, false
	}
	return limitEnd(answer.Header, now), true
}

func isLimit(answer *http.Response, message string) bool {
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
	if s, err := strconv.ParseInt(h.Get("Retry-After"), 10, 64); err == nil && s >= 0 {
		end = now.Add(time.Duration(min(s, int64(longestLimit/time.Second))) * time.Second)
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		end = at
	} else if s, err := strconv.ParseInt(first(h, "X-RateLimit-Reset", "RateLimit-Reset"), 10, 64); err == nil {
		end = time.Unix(s, 0)
		if s < now.Unix()/2 { // some say seconds from now
			end = now.Add(time.Duration(min(max(s, 0), int64(longestLimit/time.Second))) * time.Second)
		}
	}
	switch {
	case end.Before(now):
		return now.Add(usualLimit)
	case end.After(now.Add(longestLimit)):
		return now.Add(longestLimit)
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
