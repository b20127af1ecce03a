package handler

import (
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

func TestHandEditIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.push("app", "main@sha1:1", configMap("a", "good")+configMap("b", "good"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	var slowest time.Duration
	for range 4 {
		w.requests.forget()
		w.patch(w.configMap("a"), `{"data":{"key":"bad"}}`)
		took := w.until("the edit is repaired", func() bool { return w.configMap("a").Data["key"] == "good" })
		slowest = max(slowest, took)
		w.untilWatched("app")
		for _, r := range w.requests.all() {
			if strings.HasSuffix(r, "/configmaps/b") {
				t.Errorf("an object that did not drift was touched: %s", r)
			}
		}
	}
	t.Logf("slowest repair of an edit: %s", slowest)
	if slowest > 2*time.Second {
		t.Errorf("a repair took %s", slowest)
	}
	if err := w.client.Delete(t.Context(), w.configMap("b")); err != nil {
		t.Fatal(err)
	}
	took := w.until("the object is back", func() bool { return w.configMap("b") != nil })
	t.Logf("repair of a deletion: %s", took)
	w.untilWatched("app")
	repaired := w.told(bus.FactDriftRepaired)
	if len(repaired) != 5 {
		t.Fatalf("%d facts of repairs, want 5", len(repaired))
	}
	last := repaired[4].GetDriftRepaired()
	if last.ObjectCount != 1 || last.Objects[0].Object.Name != "b" || last.Objects[0].Action != factsv1.ChangeAction_CHANGE_ACTION_CREATED {
		t.Errorf("fact %v", last)
	}
}

func TestRemovedOwnerLabelIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.push("app", "main@sha1:1", configMap("a", "good"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	w.patch(w.configMap("a"), `{"metadata":{"labels":null}}`)
	w.until("the labels are back", func() bool { return len(w.configMap("a").Labels) == 2 })
}

func TestWhatOthersWriteCausesNoRun(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.push("app", "main@sha1:1", configMap("a", "good")+deployment("web"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	w.requests.forget()
	before := w.runs("app")
	w.patch(w.configMap("a"), `{"metadata":{"annotations":{"somebody":"else"},"labels":{"more":"labels"}},"data":{"other":"key"}}`)
	w.patch(w.deployment("web"), `{"spec":{"replicas":7}}`) // not in Git: an autoscaler's field
	w.setStatus("web", `{"status":{"observedGeneration":2,"replicas":7,"readyReplicas":1}}`)
	// A change that is ours to repair comes after them in the same watches; when it is repaired, the others were seen, too.
	w.patch(w.deployment("web"), `{"metadata":{"annotations":{"a":"b"}}}`)
	w.until("the watch saw them", func() bool {
		d := w.deployment("web")
		return d.Annotations["a"] == "b"
	})
	time.Sleep(600 * time.Millisecond) // four times as long as the watch waits before it looks
	if w.runs("app") != before {
		t.Error("foreign changes caused a run")
	}
	if got := w.requests.all(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
}

func TestRunWithNothingChangedAsksNothing(t *testing.T) {
	w := newWorld(t)
	w.create("app", func(k *kustomizev1.Kustomization) { k.Spec.Interval.Duration = 50 * time.Millisecond })
	w.push("app", "main@sha1:1", configMap("a", "1")+configMap("b", "1")+"---\n{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, stringData: {k: v}}\n")
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	w.requests.forget()
	for range 5 {
		w.wake("app")
	}
	if got := w.requests.all(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
}

// What kubectl adds is no drift, but goes at the interval, as with Flux; what others add stays.
func TestIntervalTakesAwayWhatKubectlAdded(t *testing.T) {
	w := newWorld(t)
	w.create("app", func(k *kustomizev1.Kustomization) { k.Spec.Interval.Duration = 50 * time.Millisecond })
	w.push("app", "main@sha1:1", configMap("a", "1"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	w.patch(w.configMap("a"), `{"data":{"operator":"x"}}`, client.FieldOwner("operator"))
	w.patch(w.configMap("a"), `{"data":{"kubectl":"x"}}`)
	w.until("what kubectl added is gone", func() bool { return w.configMap("a").Data["kubectl"] == "" })
	if got := w.configMap("a").Data["operator"]; got != "x" {
		t.Errorf("operator = %q", got)
	}
}

func TestCommitSendsOnlyWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.push("app", "main@sha1:1", configMap("a", "1")+configMap("b", "1")+configMap("c", "1"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	w.untilWatched("app")
	w.requests.forget()
	w.push("app", "main@sha1:2", configMap("a", "1")+configMap("b", "2")+configMap("c", "1"))
	w.untilReady("app", "main@sha1:2", metav1.ConditionTrue)
	var objects []string
	for _, r := range w.requests.all() {
		if strings.Contains(r, "/configmaps/") {
			objects = append(objects, r)
		}
	}
	if len(objects) != 1 || !strings.HasSuffix(objects[0], "/b") {
		t.Errorf("requests about objects: %v", objects)
	}
	if got := w.configMap("b").Data["key"]; got != "2" {
		t.Errorf("b = %q", got)
	}
}

func TestTugOfWarSlowsDown(t *testing.T) {
	j := &job{k: &kustomizev1.Kustomization{Spec: kustomizev1.KustomizationSpec{Interval: metav1.Duration{Duration: time.Minute}}}}
	var delays []time.Duration
	for range 12 {
		delays = append(delays, j.delay())
		j.countRepair()
	}
	if delays[4] != 0 || delays[5] != 2*time.Second || delays[7] != 8*time.Second || delays[11] != time.Minute {
		t.Errorf("delays %v", delays)
	}
	j.known.RepairedAt = time.Now().Add(-10 * time.Minute)
	j.countRepair()
	if j.delay() != 0 {
		t.Error("a quiet time does not bring the patience back")
	}
}

func (w *world) secret(name, key, value string) {
	w.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: map[string][]byte{key: []byte(value)}}
	if err := w.client.Create(w.Context(), s); err != nil {
		w.Fatal(err)
	}
}

func TestChainInTheWrongOrder(t *testing.T) {
	w := newWorld(t)
	names := []string{"e", "d", "c", "b", "a"}
	for i, name := range names {
		w.create(name, func(k *kustomizev1.Kustomization) {
			if i+1 < len(names) {
				k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: names[i+1]}}
			}
		})
	}
	started := time.Now()
	for _, name := range names {
		w.push(name, "main@sha1:1", configMap(name, "1"))
	}
	w.untilReady("e", "main@sha1:1", metav1.ConditionTrue)
	t.Logf("chain of 5: %s", time.Since(started))
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("the chain took %s", took)
	}
}

func TestSecondReplicaSeesAndRepairsTheSame(t *testing.T) {
	w := newWorld(t)
	w.start(nil)
	w.create("app")
	w.push("app", "main@sha1:1", configMap("a", "good")+configMap("b", "good"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	for range 5 {
		w.untilWatched("app")
		w.patch(w.configMap("a"), `{"data":{"key":"bad"}}`)
		w.until("the edit is repaired", func() bool { return w.configMap("a").Data["key"] == "good" })
	}
	w.untilWatched("app")
	time.Sleep(600 * time.Millisecond) // four times as long as the watch waits before it looks
	before := w.runs("app")
	time.Sleep(600 * time.Millisecond)
	if w.runs("app") != before {
		t.Error("two replicas keep each other awake")
	}
}
