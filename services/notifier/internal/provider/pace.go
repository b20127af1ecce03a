package provider

import (
	"strings"
	"time"
)

// paced adds how fast the service that f speaks to lets us go, where that is published. Servers of one's own have no such limits, or
// answer with what they have. The limits are for all that the credentials do: what others use of them shows in answers, too.
func (f forge) paced(t Traits) Traits {
	switch _, host, _ := strings.Cut(f.base, "://"); {
	case host == "api.github.com" && t.Comments:
		// "Rate limits for the REST API": 80 requests that create content in a minute, 500 in an hour.
		t.Every, t.Burst = time.Hour/500, 60
	case host == "api.github.com":
		// The same: 900 points in a minute; a status is a GET of one point and a POST of five.
		t.Every, t.Burst = time.Minute/150, 100
	case strings.HasPrefix(host, "api.bitbucket.org/"):
		// "API request limits": 1,000 requests for data of repositories in an hour; a status is two.
		t.Every, t.Burst = time.Hour/500, 100
	case strings.HasPrefix(host, "gitlab.com/") && t.Comments:
		// "Content creation rate limits": 300 notes in a minute unless set otherwise.
		t.Every, t.Burst = time.Minute/300, 60
	}
	return t
}
