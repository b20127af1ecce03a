package gauge

import (
	"net/http"
	"strings"
	"testing"
)

// The names must be those of the API server's metrics: otherwise the benchmark's own requests count as Sluice's.
func TestKindOf(t *testing.T) {
	for line, want := range map[string]Request{
		"GET /api/v1/namespaces/a/configmaps/b":                                           {"GET", "configmaps"},
		"GET /api/v1/configmaps":                                                          {"LIST", "configmaps"},
		"GET /api/v1/namespaces":                                                          {"LIST", "namespaces"},
		"GET /api/v1/namespaces/a":                                                        {"GET", "namespaces"},
		"GET /api/v1/configmaps?watch=true":                                               {"WATCH", "configmaps"},
		"POST /apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/kustomizations":           {"POST", "kustomizations"},
		"PATCH /apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/kustomizations/b/status": {"PATCH", "kustomizations/status"},
		"APPLY /apis/apps/v1/namespaces/a/deployments/b":                                  {"APPLY", "deployments"},
		"DELETE /apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/kustomizations":         {"DELETECOLLECTION", "kustomizations"},
		"DELETE /apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/kustomizations/b":       {"DELETE", "kustomizations"},
		"GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/a":                   {"GET", "customresourcedefinitions"},
		"GET /metrics": {"GET", "/metrics"},
		"GET /apis":    {"GET", "/apis"},
	} {
		verb, url, _ := strings.Cut(line, " ")
		method := verb
		if verb == "APPLY" {
			method = http.MethodPatch
		}
		r, err := http.NewRequest(method, "https://127.0.0.1"+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if verb == "APPLY" {
			r.Header.Set("Content-Type", "application/apply-patch+yaml")
		}
		if got := kindOf(r); got != want {
			t.Errorf("%s: %v; want %v", line, got, want)
		}
	}
}

func TestParseReadsOneCounterAlone(t *testing.T) {
	const text = `# TYPE a_total counter
a_total{x="1",y="2"} 3
a_total{x="2",y="2"} 1e+06
a_total_other{x="1"} 7
b_total{x="1"} 8
`
	samples, err := parse(strings.NewReader(text), "a_total")
	if err != nil || len(samples) != 2 || samples[0].value+samples[1].value != 1000003 || samples[0].labels["y"] != "2" {
		t.Fatalf("%v, %v", samples, err)
	}
}
