package health

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestOf(t *testing.T) {
	exprs, err := Compile([]kustomize.CustomHealthCheck{
		{APIVersion: "example.com/v1", HealthCheckExpressions: kustomize.HealthCheckExpressions{
			InProgress: "status.phase == 'Busy'", Failed: "status.phase == 'Broken'", Current: "status.phase == 'Fine'"}},
		{APIVersion: "example.com/v1", Kind: "Special", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: "true"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text string
		want status.Status
	}{
		"a job under way":          {"{apiVersion: batch/v1, kind: Job, spec: {}, status: {active: 1}}", status.InProgressStatus},
		"a job done":               {"{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Complete, status: 'True'}]}}", status.CurrentStatus},
		"a job failed":             {"{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: 'True'}]}}", status.FailedStatus},
		"a job suspended":          {"{apiVersion: batch/v1, kind: Job, spec: {suspend: true}}", status.CurrentStatus},
		"a configmap":              {"{apiVersion: v1, kind: ConfigMap}", status.CurrentStatus},
		"not ready":                {"{apiVersion: other.com/v1, kind: X, status: {conditions: [{type: Ready, status: 'False'}]}}", status.InProgressStatus},
		"stalled":                  {"{apiVersion: other.com/v1, kind: X, status: {conditions: [{type: Stalled, status: 'True'}]}}", status.FailedStatus},
		"by expression, fine":      {"{apiVersion: example.com/v2, kind: X, status: {phase: Fine}}", status.CurrentStatus},
		"by expression, busy":      {"{apiVersion: example.com/v1, kind: X, status: {phase: Busy}}", status.InProgressStatus},
		"by expression, broken":    {"{apiVersion: example.com/v1, kind: X, status: {phase: Broken}}", status.FailedStatus},
		"by expression, no status": {"{apiVersion: example.com/v1, kind: X}", status.UnknownStatus},
		"by the kind's expression": {"{apiVersion: example.com/v1, kind: Special}", status.CurrentStatus},
		"generation not observed":  {"{apiVersion: example.com/v1, kind: X, metadata: {generation: 2}, status: {observedGeneration: 1, phase: Fine}}", status.InProgressStatus},
	} {
		t.Run(name, func(t *testing.T) {
			u := parse(t, test.text)
			if generation, ok, _ := unstructured.NestedFloat64(u.Object, "metadata", "generation"); ok { // YAML here has no whole numbers
				u.SetGeneration(int64(generation))
				_ = unstructured.SetNestedField(u.Object, int64(1), "status", "observedGeneration")
			}
			if got := Of(u, exprs); got.Status != test.want {
				t.Errorf("health %+v, want %s", got, test.want)
			}
		})
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct{ current, failed, want string }{
		"no current": {"", "", "current is missing"},
		"no CEL":     {"true", "status.(", "parse"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile([]kustomize.CustomHealthCheck{{APIVersion: "a/v1", Kind: "B", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: test.current, Failed: test.failed}}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestErrorsDoNotQuoteSecrets(t *testing.T) {
	exprs, err := Compile([]kustomize.CustomHealthCheck{{APIVersion: "v1", Kind: "Secret", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: "int(data.password) == 1"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := Of(parse(t, "{apiVersion: v1, kind: Secret, data: {password: sesame}}"), exprs)
	if h.OK() || strings.Contains(h.Message, "sesame") {
		t.Errorf("health %+v", h)
	}
}
