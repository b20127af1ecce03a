package apply

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// fake is an engine for a server that answers as told.
func fake(t *testing.T, serve http.HandlerFunc) *Engine {
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	e, err := New(&rest.Config{Host: server.URL}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.kinds.known, e.kinds.served = readKinds(nil, []*metav1.APIResourceList{{
		GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}}}})
	return e
}

func TestThrottledAndBroken(t *testing.T) {
	for name, tc := range map[string]struct {
		code       int
		header     string
		want       Kind
		retryAfter string
	}{
		"too many requests": {http.StatusTooManyRequests, "7", Unavailable, "7s"},
		"unavailable":       {http.StatusServiceUnavailable, "3", Unavailable, "3s"},
		"gateway timeout":   {http.StatusGatewayTimeout, "", Unavailable, "0s"},
		"internal error":    {http.StatusInternalServerError, "", Unavailable, "0s"},
		"unauthorized":      {http.StatusUnauthorized, "", Forbidden, "0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			f := &fixture{TB: t, namespace: "some"}
			f.Engine = fake(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				w.WriteHeader(tc.code)
			})
			_, failures := f.applyFails(configMap("a", "1"))
			if failures.Kind() != tc.want || failures.RetryAfter().String() != tc.retryAfter {
				t.Errorf("kind %q, retry after %s: %v", failures.Kind(), failures.RetryAfter(), failures)
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests, want no retry here", requests.Load())
			}
		})
	}
}

// An answer that is no Kubernetes answer is an error, not an object.
func TestNonsenseAnswer(t *testing.T) {
	f := &fixture{TB: t, namespace: "some"}
	f.Engine = fake(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") })
	_, failures := f.applyFails(configMap("a", "1"))
	if failures.Kind() == Invalid {
		t.Errorf("kind = %q: %v", failures.Kind(), failures)
	}
}
