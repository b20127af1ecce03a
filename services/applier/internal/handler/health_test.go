package handler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
)

func deployment(name string) string {
	return fmt.Sprintf("---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s, namespace: NS}, spec: {selector: {matchLabels: {app: %[1]s}}, "+
		"template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: c, image: %[1]s}]}}}}\n", name)
}

func (w *world) deployment(name string) *appsv1.Deployment {
	w.Helper()
	d := &appsv1.Deployment{}
	if err := w.client.Get(w.Context(), w.key(name), d); err != nil {
		w.Fatal(err)
	}
	return d
}

func (w *world) setStatus(name, patch string) {
	w.Helper()
	if err := w.client.Status().Patch(w.Context(), w.deployment(name), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// makeHealthy plays the controller of a Deployment that rolled out.
func (w *world) makeHealthy(name string) {
	w.Helper()
	w.setStatus(name, fmt.Sprintf(`{"status":{"observedGeneration":%d,"replicas":1,"readyReplicas":1,"updatedReplicas":1,"availableReplicas":1,`+
		`"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`, w.deployment(name).Generation))
}

func waiting(timeout time.Duration) func(*kustomizev1.Kustomization) {
	return func(k *kustomizev1.Kustomization) {
		k.Spec.Wait, k.Spec.Timeout = true, &metav1.Duration{Duration: timeout}
		k.Spec.RetryInterval = &metav1.Duration{Duration: time.Hour}
	}
}

func TestWaitBecomesHealthy(t *testing.T) {
	w := newWorld(t)
	w.create("app", waiting(time.Minute))
	w.push("app", "main@sha1:1", configMap("a", "1")+deployment("web"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionUnknown)
	w.until("health is unknown", func() bool { return condition(w.get("app"), meta.HealthyCondition).Status == metav1.ConditionUnknown })
	if k.Status.LastAppliedRevision != "" {
		t.Errorf("applied revision %q while waiting", k.Status.LastAppliedRevision)
	}
	w.makeHealthy("web")
	started := time.Now()
	k = w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	t.Logf("from healthy object to ready: %s", time.Since(started))
	if h := condition(k, meta.HealthyCondition); h.Status != metav1.ConditionTrue || h.Reason != meta.SucceededReason {
		t.Errorf("Healthy = %+v", h)
	}
	if k.Status.LastAppliedRevision != "main@sha1:1" {
		t.Errorf("applied revision %q", k.Status.LastAppliedRevision)
	}
	w.untilWatched("app")
	w.requests.forget()
	w.wake("app")
	if got := w.requests.all(); len(got) > 0 {
		t.Errorf("requests of a run with nothing changed: %v", got)
	}
	// It fails later: that shows without any interval.
	w.setStatus("web", `{"status":{"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded"}]}}`)
	k = w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	if r := condition(k, meta.ReadyCondition).Reason; r != meta.HealthCheckFailedReason {
		t.Errorf("reason %q", r)
	}
	// And it recovers.
	w.makeHealthy("web")
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
	var steps []string
	w.until("all changes of health are told", func() bool {
		steps = nil
		for _, f := range w.told(bus.FactHealthChanged) {
			steps = append(steps, strings.TrimPrefix(f.GetHealthChanged().GetTo().String(), "HEALTH_"))
		}
		return len(steps) >= 4
	})
	if got := strings.Join(steps, " "); got != "PROGRESSING HEALTHY FAILED HEALTHY" {
		t.Errorf("health: %s", got)
	}
}

func TestWaitTimesOutAndIsSuperseded(t *testing.T) {
	w := newWorld(t, func(a *Applier) {
		a.timeout = func(*kustomizev1.Kustomization) time.Duration { return 700 * time.Millisecond }
	})
	w.create("app", waiting(time.Minute)) // the shortest timeout that a spec can ask for is half a minute
	w.push("app", "main@sha1:1", deployment("web"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	ready := condition(k, meta.ReadyCondition)
	if ready.Reason != meta.HealthCheckFailedReason || !strings.Contains(ready.Message, "Deployment/"+w.namespace+"/web status: 'InProgress'") {
		t.Errorf("Ready = %+v", ready)
	}
	if h := condition(k, meta.HealthyCondition); h.Status != metav1.ConditionFalse || h.Reason != meta.HealthCheckFailedReason {
		t.Errorf("Healthy = %+v", h)
	}
	if len(k.Status.History) == 0 || k.Status.History[0].LastReconciledStatus != meta.HealthCheckFailedReason {
		t.Errorf("history %+v", k.Status.History)
	}
	// A newer revision does not wait for the old one, nor for its retry.
	started := time.Now()
	w.push("app", "main@sha1:2", configMap("a", "2"))
	w.untilReady("app", "main@sha1:2", metav1.ConditionTrue)
	t.Logf("superseded in %s", time.Since(started))
}

func TestHealthChecksOfOthersObjectsAndExpressions(t *testing.T) {
	w := newWorld(t)
	w.create("app", func(k *kustomizev1.Kustomization) {
		k.Spec.Timeout = &metav1.Duration{Duration: time.Minute}
		k.Spec.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "ConfigMap", Namespace: w.namespace, Name: "gate"}}
		k.Spec.HealthCheckExprs = []kustomize.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", HealthCheckExpressions: kustomize.HealthCheckExpressions{
			Current: "has(data.open) && data.open == 'yes'", Failed: "has(data.open) && data.open == 'never'"}}}
	})
	w.push("app", "main@sha1:1", configMap("a", "1"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionUnknown)
	gate := w.parse("{apiVersion: v1, kind: ConfigMap, metadata: {name: gate, namespace: NS}, data: {open: no}}")[0]
	gate.Object["data"] = map[string]any{"open": "no"}
	if err := w.client.Create(t.Context(), gate); err != nil {
		t.Fatal(err)
	}
	w.patch(gate, `{"data":{"open":"never"}}`)
	w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	w.patch(gate, `{"data":{"open":"yes"}}`)
	w.untilReady("app", "main@sha1:1", metav1.ConditionTrue)
}

func TestWrongExpressionStalls(t *testing.T) {
	w := newWorld(t)
	w.create("app", waiting(time.Minute), func(k *kustomizev1.Kustomization) {
		k.Spec.HealthCheckExprs = []kustomize.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: "("}}}
	})
	w.push("app", "main@sha1:1", configMap("a", "1"))
	k := w.untilReady("app", "main@sha1:1", metav1.ConditionFalse)
	if r := condition(k, meta.StalledCondition).Reason; r != meta.InvalidCELExpressionReason {
		t.Errorf("conditions %+v", k.Status.Conditions)
	}
}

func TestDependencyWaitsForHealthAndExpression(t *testing.T) {
	w := newWorld(t)
	dependsOn := func(name, expr string) func(*kustomizev1.Kustomization) {
		return func(k *kustomizev1.Kustomization) {
			k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: name, ReadyExpr: expr}}
			k.Spec.RetryInterval = &metav1.Duration{Duration: time.Hour}
		}
	}
	w.create("third", dependsOn("second", "dep.metadata.name == 'second' && dep.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"))
	w.create("second", dependsOn("first", ""))
	w.create("first", waiting(time.Minute))
	w.push("third", "main@sha1:1", configMap("third", "1"))
	w.push("second", "main@sha1:1", configMap("second", "1"))
	w.untilReady("second", "main@sha1:1", metav1.ConditionFalse)
	w.push("first", "main@sha1:1", deployment("web"))
	w.untilReady("first", "main@sha1:1", metav1.ConditionUnknown)
	if w.configMap("second") != nil {
		t.Error("applied before its dependency was healthy")
	}
	w.makeHealthy("web")
	started := time.Now()
	w.untilReady("third", "main@sha1:1", metav1.ConditionTrue)
	t.Logf("chain behind a healthy object: %s", time.Since(started))
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("the chain took %s", took)
	}
}

// What a service account may not read must not show by way of a health check.
func TestHealthChecksAreMadeAsTheServiceAccount(t *testing.T) {
	w := newWorld(t, func(a *Applier) { a.DefaultAccount = "tenant" })
	for _, u := range w.parse(`
{apiVersion: v1, kind: Secret, metadata: {name: foreign, namespace: NS}, data: {password: c2VzYW1l}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: tenant, namespace: NS}, rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: tenant, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}, subjects: [{kind: ServiceAccount, name: tenant, namespace: NS}]}
`) {
		if err := w.client.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	w.create("app", func(k *kustomizev1.Kustomization) {
		k.Spec.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "Secret", Namespace: w.namespace, Name: "foreign"}}
		k.Spec.HealthCheckExprs = []kustomize.CustomHealthCheck{{APIVersion: "v1", Kind: "Secret", HealthCheckExpressions: kustomize.HealthCheckExpressions{
			Current: "data.password == 'c2VzYW1l'", Failed: "data.password != 'c2VzYW1l'"}}}
	})
	w.push("app", "main@sha1:1", configMap("a", "1"))
	w.untilReady("app", "main@sha1:1", metav1.ConditionUnknown)
	w.wake("app")
	if s := condition(w.get("app"), meta.ReadyCondition).Status; s != metav1.ConditionUnknown {
		t.Errorf("Ready = %s: the Secret was read", s)
	}
}
