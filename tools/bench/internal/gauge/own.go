package gauge

import (
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Own counts the requests that the benchmark itself sends to the API server, so that they are not taken for Sluice's. It wraps the
// transport of all its clients.
type Own struct {
	mu   sync.Mutex
	sent Requests
}

// NewOwn makes a counter.
func NewOwn() *Own { return &Own{sent: Requests{}} }

// Wrap counts what goes through a transport, watches aside.
func (o *Own) Wrap(next http.RoundTripper) http.RoundTripper { return &counting{next, o} }

type counting struct {
	next http.RoundTripper
	own  *Own
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if kind := kindOf(r); kind.Verb != "WATCH" {
		c.own.mu.Lock()
		c.own.sent[kind]++
		c.own.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

func (o *Own) soFar() Requests {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.sent)
}

// kindOf names a request as the API server's metrics do.
func kindOf(r *http.Request) Request {
	resource, named := resourceOf(r.URL.Path)
	verb := r.Method
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		verb = "WATCH"
	case r.Method == http.MethodGet && !named && resource[0] != '/':
		verb = "LIST"
	case r.Method == http.MethodPatch && strings.Contains(r.Header.Get("Content-Type"), "apply-patch"):
		verb = "APPLY"
	case r.Method == http.MethodDelete && !named:
		verb = "DELETECOLLECTION"
	}
	return Request{verb, resource}
}

// resourceOf returns the resource of a path, with its subresource, and whether the path names an object. A path of no resource is
// returned whole.
func resourceOf(path string) (resource string, named bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return "/" + strings.Trim(path, "/"), false
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2], true
	}
	return parts[0], len(parts) > 1
}
