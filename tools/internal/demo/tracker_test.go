package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

const testRevision = "main@sha1:0123456789"

func deployment(image string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"kind": "Deployment", "metadata": map[string]any{"namespace": "shop-staging", "name": "web"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"image": image}}}}},
	}}
}

func kustomization(name, status, reason, revision string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"kind": "Kustomization", "metadata": map[string]any{"namespace": namespace, "name": name},
		"status": map[string]any{
			"lastAttemptedRevision": revision,
			"conditions":            []any{map[string]any{"type": "Ready", "status": status, "reason": reason, "message": "a.yaml:1: bad"}},
		},
	}}
}

func fact(app, revision string, f *factsv1.Fact) *factsv1.Fact {
	f.Object, f.Revision = &factsv1.ObjectReference{Name: app}, revision
	return f
}

func rendered(app, revision string, unchanged bool) *factsv1.Fact {
	return fact(app, revision, &factsv1.Fact{Kind: &factsv1.Fact_ManifestsRendered{ManifestsRendered: &factsv1.ManifestsRendered{Unchanged: unchanged}}})
}

func applied(app, revision string) *factsv1.Fact {
	return fact(app, revision, &factsv1.Fact{Kind: &factsv1.Fact_Applied{Applied: &factsv1.Applied{Counts: &factsv1.ApplyCounts{Configured: 1}}}})
}

// play shows a tracker of one push sightings that are a millisecond apart.
func play(w *world, wants []want, all ...sighting) (t *tracker, output string) {
	var out bytes.Buffer
	began := time.Now()
	t = newTracker(newConsole(&out), began, testRevision, wants)
	for i, s := range all {
		s.at = began.Add(time.Duration(i+1) * time.Millisecond)
		action := ""
		if s.object != nil {
			action = w.take(s.object, s.deleted)
		}
		t.see(s, action)
	}
	return t, out.String()
}

func TestTrackerIsDoneWithTheWantedObjectAndAllApplications(t *testing.T) {
	w := newWorld()
	w.take(deployment("nginx:1"), false)
	wants := []want{image(stagingWeb, "nginx:2")}
	all := []sighting{
		{fact: rendered("shop-staging", testRevision, false)},
		{fact: rendered("guestbook", testRevision, true)},
		{object: deployment("nginx:2")},
		{fact: applied("shop-staging", testRevision)},
		{fact: applied("guestbook", testRevision)},
	}
	for n := range all {
		if part, _ := play(newWorld(), wants, all[:n]...); part.done(2) {
			t.Errorf("done after %d of %d sightings", n, len(all))
		}
	}
	tracker, output := play(w, wants, all...)
	if !tracker.done(2) {
		t.Error("not done after all sightings")
	}
	if tracker.times.changed != 3*time.Millisecond || tracker.times.applied != 4*time.Millisecond {
		t.Errorf("times = %+v, want changed after 3 ms and applied after 4 ms", tracker.times)
	}
	if !strings.Contains(output, "configured Deployment shop-staging/web: image nginx:2") || strings.Contains(output, "guestbook") {
		t.Errorf("output tells not what changed, or of what did not:\n%s", output)
	}
}

func TestTrackerIgnoresAnotherRevisionAndAnotherValue(t *testing.T) {
	tracker, _ := play(newWorld(), []want{image(stagingWeb, "nginx:2")},
		sighting{object: deployment("nginx:1")},
		sighting{fact: applied("shop-staging", "main@sha1:other")},
	)
	if len(tracker.wants) != 1 || len(tracker.finished) != 0 {
		t.Errorf("wants = %d, finished = %v: took something else for the push", len(tracker.wants), tracker.finished)
	}
}

func TestTrackerTakesARefusalForAnEndButNotAWait(t *testing.T) {
	waits := kustomization("guestbook", "False", dependencyNotReady, testRevision)
	before := kustomization("guestbook", "False", "BuildFailed", "main@sha1:other")
	refused := kustomization("guestbook", "False", "BuildFailed", testRevision)
	for name, c := range map[string]struct {
		object *unstructured.Unstructured
		done   bool
	}{"waits": {waits, false}, "refused before": {before, false}, "refused": {refused, true}} {
		tracker, _ := play(newWorld(), nil, sighting{object: c.object})
		if tracker.done(1) != c.done {
			t.Errorf("%s: done = %t, want %t", name, tracker.done(1), c.done)
		}
	}
}

func TestTrackerSeesADeletion(t *testing.T) {
	w := newWorld()
	w.take(deployment("nginx:1"), false)
	tracker, output := play(w, []want{gone(stagingWeb)}, sighting{object: deployment("nginx:1"), deleted: true})
	if !tracker.done(0) || !strings.Contains(output, "deleted    Deployment shop-staging/web") {
		t.Errorf("deletion not seen:\n%s", output)
	}
}

func TestWorldLeavesOutStatusAndMetadata(t *testing.T) {
	w := newWorld()
	if action := w.take(deployment("nginx:1"), false); action != "created" {
		t.Errorf("first sight is %q, want created", action)
	}
	next := deployment("nginx:1")
	next.Object["status"] = map[string]any{"replicas": int64(1)}
	next.SetAnnotations(map[string]string{"deployment.kubernetes.io/revision": "2"})
	if action := w.take(next, false); action != "" {
		t.Errorf("a status is %q, want nothing", action)
	}
	if action := w.take(deployment("nginx:2"), false); action != "configured" {
		t.Errorf("another spec is %q, want configured", action)
	}
}

func TestQuantile(t *testing.T) {
	all := []time.Duration{9, 1, 8, 2, 7, 3, 6, 4, 5}
	for share, want := range map[float64]time.Duration{0.5: 5, 0.9: 9, 1: 9, 0.1: 1} {
		if got := quantile(all, share); got != want {
			t.Errorf("quantile %v = %d, want %d", share, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d", got)
	}
}
