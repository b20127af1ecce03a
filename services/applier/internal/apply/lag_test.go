package apply

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// lagging stands for an API server that has not heard of a new kind yet: the first requests for it
// are answered as for a path that is not served.
type lagging struct {
	next http.RoundTripper
	path string
	left atomic.Int64
}

func (l *lagging) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, l.path) || l.left.Add(-1) < 0 {
		return l.next.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: http.StatusNotFound, Request: r, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body: io.NopCloser(strings.NewReader("404 page not found\n")),
	}, nil
}

// lag makes an engine whose next n requests for a path find nothing served.
func (f *fixture) lag(config Config, path string, n int64) *lagging {
	l := &lagging{path: path}
	l.left.Store(n)
	f.config = rest.CopyConfig(f.config)
	f.config.Wrap(func(next http.RoundTripper) http.RoundTripper { l.next = next; return l })
	f.restart(config)
	return l
}

func TestServerThatLagsBehind(t *testing.T) {
	f := setUp(t, Config{})
	f.lag(Config{WaitTimeout: 20 * time.Second}, "/lagging/", 3)
	result := f.apply(crd("lagging") + widget("lagging", "a", 1))
	f.want(result.Changes, "CustomResourceDefinition/lagging.test.sluice.dev created", "Lagging/a created")
}

func TestServerThatLagsTooLong(t *testing.T) {
	f := setUp(t, Config{})
	f.lag(Config{WaitTimeout: 200 * time.Millisecond}, "/later/", 1000)
	result := f.apply(crd("later") + widget("later", "a", 1))
	if len(result.Pending) != 1 || !strings.Contains(result.Pending[0].Reason, "later.test.sluice.dev") {
		t.Errorf("pending = %+v, changes %v", result.Pending, result.Changes)
	}
}

// A kind that was known and is served no more is unknown, and known again when it is back.
func TestKindThatWent(t *testing.T) {
	f := setUp(t, Config{})
	f.apply(crd("going") + widget("going", "a", 1))
	l := f.lag(Config{}, "/going/", 0)
	f.applySoon(widget("going", "a", 1)) // From here on the engine knows the kind.
	l.left.Store(2)
	for range 2 {
		if _, failures := f.applyFails(widget("going", "a", 1)); failures.Kind() != UnknownKind {
			t.Errorf("%s: %v", failures.Kind(), failures)
		}
		if _, err := f.kinds.lookup(f.parse(widget("going", "a", 1))[0].GroupVersionKind()); err == nil {
			t.Error("the kind is still known, so the next run would not ask how it is served")
		}
	}
	f.want(f.applySoon(widget("going", "a", 1)).Changes, "Going/a unchanged")
}
