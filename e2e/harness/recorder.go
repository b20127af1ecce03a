package harness

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	watchtools "k8s.io/client-go/tools/watch"
)

// Write is one value that an object had.
type Write struct {
	Number  int // of the commit
	Version string
	Seen    time.Time
}

// Recorder sees every state of the ConfigMaps of a namespace, in the order in which the API server stored them.
type Recorder struct {
	mu      sync.Mutex
	writes  map[string][]Write
	changed chan struct{} // closed and made anew at each event
	err     error
}

// Record starts a recorder for a namespace that ends with the test.
func (e *Env) Record(t testing.TB, namespace string) *Recorder {
	t.Helper()
	clients, err := kubernetes.NewForConfig(e.Plane.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	maps := clients.CoreV1().ConfigMaps(namespace)
	now, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := watchtools.NewRetryWatcherWithContext(ctx, now.ResourceVersion, watcher(func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		return maps.Watch(ctx, o)
	}))
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{writes: map[string][]Write{}, changed: make(chan struct{})}
	for i := range now.Items {
		r.note(&now.Items[i])
	}
	done := make(chan struct{})
	go func() { defer close(done); r.follow(w) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

type watcher func(context.Context, metav1.ListOptions) (watch.Interface, error)

func (w watcher) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return w(ctx, o)
}

func (r *Recorder) follow(w watch.Interface) {
	for event := range w.ResultChan() {
		switch obj := event.Object.(type) {
		case *corev1.ConfigMap:
			if event.Type != watch.Deleted {
				r.note(obj)
			}
		default:
			r.fail(fmt.Errorf("watch of ConfigMaps ended: %v", event))
		}
	}
}

func (r *Recorder) note(m *corev1.ConfigMap) {
	number, err := strconv.Atoi(m.Data[sequenceKey])
	if err != nil {
		return // not one of ours
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes[m.Name] = append(r.writes[m.Name], Write{Number: number, Version: m.ResourceVersion, Seen: time.Now()})
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Last is the last number that each object had.
func (r *Recorder) Last() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]int{}
	for name, writes := range r.writes {
		last[name] = writes[len(writes)-1].Number
	}
	return last
}

// Writes are the values that an object had, in order.
func (r *Recorder) Writes(name string) []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Write(nil), r.writes[name]...)
}

// AwaitWrite returns when an object was seen with a number, or a later one.
func (r *Recorder) AwaitWrite(t testing.TB, name string, number int, within time.Duration) Write {
	t.Helper()
	var found Write
	r.await(t, within, fmt.Sprintf("number %d in %s", number, name), func() string {
		for _, w := range r.writes[name] {
			if w.Number >= number {
				found = w
				return ""
			}
		}
		return fmt.Sprintf("have %v", r.writes[name])
	})
	return found
}

// AwaitAll returns when every object has the number it is to have.
func (r *Recorder) AwaitAll(t testing.TB, want map[string]int, within time.Duration) {
	t.Helper()
	r.await(t, within, "all applications at their last commit", func() string {
		var behind []string
		for name, number := range want {
			writes := r.writes[name]
			if len(writes) == 0 {
				behind = append(behind, fmt.Sprintf("%s: nothing, want %d", name, number))
			} else if have := writes[len(writes)-1].Number; have != number {
				behind = append(behind, fmt.Sprintf("%s: %d, want %d", name, have, number))
			}
		}
		sort.Strings(behind)
		return strings.Join(behind, "; ")
	})
}

// await returns when missing, which is called under the lock, says nothing any more.
func (r *Recorder) await(t testing.TB, within time.Duration, what string, missing func() string) {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		r.mu.Lock()
		left, changed, err := missing(), r.changed, r.err
		r.mu.Unlock()
		switch {
		case err != nil:
			t.Fatal(err)
		case left == "":
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("%s: not within %s: %s", what, within, left)
		}
	}
}

// Regressions tells of every write of an older commit over that of a newer one.
func (r *Recorder) Regressions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for name, writes := range r.writes {
		for i := 1; i < len(writes); i++ {
			if writes[i].Number < writes[i-1].Number {
				found = append(found, fmt.Sprintf("%s went from %d (version %s) back to %d (version %s at %s)", name,
					writes[i-1].Number, writes[i-1].Version, writes[i].Number, writes[i].Version, writes[i].Seen.Format(time.RFC3339Nano)))
			}
		}
	}
	sort.Strings(found)
	return found
}

// Total is how many writes were seen.
func (r *Recorder) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, writes := range r.writes {
		n += len(writes)
	}
	return n
}
