package harness

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Write is one state of an object: the number of the commit that it is of.
type Write struct {
	Number  int
	Version string // resourceVersion
	Seen    time.Time
}

func (w Write) String() string {
	return fmt.Sprintf("%d (version %s, %s)", w.Number, w.Version, w.Seen.Format(time.RFC3339Nano))
}

// Recorder sees every state of the objects of a kind in a namespace, in the order in which the API server stored them.
type Recorder struct {
	value  func(client.Object) string      // what of an object tells its commit; empty for an object that is of none
	number func(value string) (int, error) // of the commit that a value tells

	mu      sync.Mutex
	states  map[string][]state
	changed chan struct{} // closed and made anew at each event
}

type state struct {
	value, version string
	seen           time.Time
}

// Record records the numbers in the ConfigMaps of a namespace until the test ends.
func (e *Env) Record(t testing.TB, namespace string) *Recorder {
	t.Helper()
	value := func(obj client.Object) string { return obj.(*corev1.ConfigMap).Data[sequenceKey] }
	return e.record(t, namespace, &corev1.ConfigMapList{}, value, strconv.Atoi)
}

// RecordApplied records the revisions in the status of Kustomizations until the test ends.
func (e *Env) RecordApplied(t testing.TB, namespace string) *Recorder {
	t.Helper()
	value := func(obj client.Object) string { return obj.(*kustomizev1.Kustomization).Status.LastAppliedRevision }
	return e.record(t, namespace, &kustomizev1.KustomizationList{}, value, e.NumberOf)
}

// RecordSources records the revisions in the status of GitRepositories until the test ends.
func (e *Env) RecordSources(t testing.TB, namespace string) *Recorder {
	t.Helper()
	value := func(obj client.Object) string {
		if artifact := obj.(*sourcev1.GitRepository).Status.Artifact; artifact != nil {
			return artifact.Revision
		}
		return ""
	}
	return e.record(t, namespace, &sourcev1.GitRepositoryList{}, value, e.NumberOf)
}

// RecordFailures records, until the test ends, why custom resources of a kind, given by a list of it, say that they are not ready.
func (e *Env) RecordFailures(t testing.TB, namespace string, list client.ObjectList) *Recorder {
	t.Helper()
	return e.record(t, namespace, list, failureOf, strconv.Atoi)
}

// failureOf is the reason for which an object is not ready.
func failureOf(obj client.Object) string {
	resource, ok := obj.(Resource)
	if !ok {
		return ""
	}
	ready := apimeta.FindStatusCondition(resource.GetConditions(), meta.ReadyCondition)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return ""
	}
	return ready.Reason
}

func (e *Env) record(t testing.TB, namespace string, list client.ObjectList, value func(client.Object) string, number func(string) (int, error)) *Recorder {
	t.Helper()
	if err := e.Client.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	r := &Recorder{value: value, number: number, states: map[string][]state{}, changed: make(chan struct{})}
	if err := r.noteAll(list); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.follow(ctx, e.Client, namespace, list) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// follow notes every change after the list, until ctx ends. Where the API server was away and does not know what came after the list
// any more, it lists again: then a state may go unseen, but not the order of those seen.
func (r *Recorder) follow(ctx context.Context, c client.WithWatch, namespace string, list client.ObjectList) {
	version := list.GetResourceVersion()
	for ctx.Err() == nil {
		var err error
		version, err = r.watch(ctx, c, namespace, list, version)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			if err = c.List(ctx, list, client.InNamespace(namespace)); err == nil {
				version = list.GetResourceVersion()
				err = r.noteAll(list)
			}
		}
		if err != nil {
			Pause(ctx, 100*time.Millisecond)
		}
	}
}

// watch notes changes until the watch ends and returns the version that it got to.
func (r *Recorder) watch(ctx context.Context, c client.WithWatch, namespace string, list client.ObjectList, version string) (string, error) {
	from := &client.ListOptions{Namespace: namespace, Raw: &metav1.ListOptions{ResourceVersion: version}}
	w, err := c.Watch(ctx, list.DeepCopyObject().(client.ObjectList), from)
	if err != nil {
		return version, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		obj, ok := event.Object.(client.Object)
		if !ok {
			return version, apierrors.FromObject(event.Object)
		}
		version = obj.GetResourceVersion()
		if event.Type == watch.Added || event.Type == watch.Modified {
			r.note(obj)
		}
	}
	return version, nil
}

func (r *Recorder) noteAll(list client.ObjectList) error {
	return apimeta.EachListItem(list, func(obj runtime.Object) error {
		r.note(obj.(client.Object))
		return nil
	})
}

func (r *Recorder) note(obj client.Object) {
	value := r.value(obj)
	if value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[obj.GetName()] = append(r.states[obj.GetName()], state{value, obj.GetResourceVersion(), time.Now()})
	close(r.changed)
	r.changed = make(chan struct{})
}

// Writes are the states of an object that are of a commit, in order.
func (r *Recorder) Writes(name string) []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes(name)
}

func (r *Recorder) writes(name string) []Write {
	var writes []Write
	for _, s := range r.states[name] {
		if number, err := r.number(s.value); err == nil {
			writes = append(writes, Write{Number: number, Version: s.version, Seen: s.seen})
		}
	}
	return writes
}

// Last is the last number that each object had.
func (r *Recorder) Last() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]int{}
	for name := range r.states {
		if writes := r.writes(name); len(writes) > 0 {
			last[name] = writes[len(writes)-1].Number
		}
	}
	return last
}

// AwaitWrite returns when an object was seen with a number, or a later one.
func (r *Recorder) AwaitWrite(t testing.TB, name string, number int, within time.Duration) Write {
	t.Helper()
	var found Write
	r.await(t, within, fmt.Sprintf("number %d in %s", number, name), func() string {
		writes := r.writes(name)
		i := slices.IndexFunc(writes, func(w Write) bool { return w.Number >= number })
		if i < 0 {
			return fmt.Sprintf("have %v", writes)
		}
		found = writes[i]
		return ""
	})
	return found
}

// AwaitAll returns when every object has the number it is to have.
func (r *Recorder) AwaitAll(t testing.TB, want map[string]int, within time.Duration) {
	t.Helper()
	r.await(t, within, "all objects at their last commit", func() string {
		var behind []string
		for name, number := range want {
			writes := r.writes(name)
			if len(writes) == 0 {
				behind = append(behind, fmt.Sprintf("%s: nothing, want %d", name, number))
			} else if have := writes[len(writes)-1]; have.Number != number {
				behind = append(behind, fmt.Sprintf("%s: %s, want %d", name, have, number))
			}
		}
		slices.Sort(behind)
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
		left, changed := missing(), r.changed
		r.mu.Unlock()
		if left == "" {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("%s: not within %s: %s", what, within, left)
		}
	}
}

// Regression is a state of an older commit that followed one of a newer.
type Regression struct {
	Object       string
	Newer, Older Write
}

func (r Regression) String() string {
	return fmt.Sprintf("%s went from %s back to %s", r.Object, r.Newer, r.Older)
}

// Back are all regressions, by time.
func (r *Recorder) Back() []Regression {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Regression
	for name := range r.states {
		writes := r.writes(name)
		for i := 1; i < len(writes); i++ {
			if writes[i].Number < writes[i-1].Number {
				found = append(found, Regression{name, writes[i-1], writes[i]})
			}
		}
	}
	slices.SortFunc(found, func(a, b Regression) int { return a.Older.Seen.Compare(b.Older.Seen) })
	return found
}

// Regressions tells of every regression.
func (r *Recorder) Regressions() []string {
	var found []string
	for _, back := range r.Back() {
		found = append(found, back.String())
	}
	slices.Sort(found)
	return found
}

// CountValues counts the states seen between two times by their value.
func (r *Recorder) CountValues(from, to time.Time) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for _, states := range r.states {
		for _, s := range states {
			if !s.seen.Before(from) && s.seen.Before(to) {
				counts[s.value]++
			}
		}
	}
	return counts
}

// Total is how many states were seen.
func (r *Recorder) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, states := range r.states {
		n += len(states)
	}
	return n
}
