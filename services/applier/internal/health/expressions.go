package health

import (
	"context"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/libs/expression"
)

// Expressions tell the health of kinds. A nil one tells of none.
type Expressions map[schema.GroupKind]*rule

// rule tells the health of a kind: the first expression that is true says it.
type rule struct{ steps []step }

type step struct {
	expr   *expression.Expression
	status status.Status
}

// Compile prepares the expressions of a spec. The error names the one that is wrong.
func Compile(checks []kustomize.CustomHealthCheck) (Expressions, error) {
	if len(checks) == 0 {
		return nil, nil
	}
	e := Expressions{}
	for _, c := range checks {
		gv, err := schema.ParseGroupVersion(c.APIVersion)
		if err != nil {
			return nil, fmt.Errorf("health check expression for %q: %w", c.APIVersion, err)
		}
		if c.Current == "" {
			return nil, fmt.Errorf("health check expression for %s %s: current is missing", c.APIVersion, c.Kind)
		}
		r := &rule{}
		for _, s := range []struct {
			text   string
			status status.Status
		}{{c.InProgress, status.InProgressStatus}, {c.Failed, status.FailedStatus}, {c.Current, status.CurrentStatus}} {
			if s.text == "" {
				continue
			}
			expr, err := expression.Parse(s.text)
			if err != nil {
				return nil, fmt.Errorf("health check expression for %s %s: %w", c.APIVersion, c.Kind, err)
			}
			r.steps = append(r.steps, step{expr, s.status})
		}
		kind := schema.GroupKind{Group: gv.Group, Kind: c.Kind}
		if e[kind] != nil {
			return nil, fmt.Errorf("health check expressions for %s are given twice", kind)
		}
		e[kind] = r
	}
	return e, nil
}

// find returns the rule for a kind, or else that for its whole group.
func (e Expressions) find(kind schema.GroupKind) *rule {
	if r := e[kind]; r != nil {
		return r
	}
	return e[schema.GroupKind{Group: kind.Group}]
}

// Has reports whether there is a rule for a kind.
func (e Expressions) Has(kind schema.GroupKind) bool { return e.find(kind) != nil }

// explain says what is wrong with an expression, but for Secrets, of which errors could quote values.
func explain(u *unstructured.Unstructured, err error) string {
	if u.GetKind() == "Secret" && u.GroupVersionKind().Group == "" {
		return "the expression cannot be evaluated"
	}
	return clip(err.Error())
}

// maxEvaluation bounds the time of one expression: objects come from others.
const maxEvaluation = 200 * time.Millisecond

func (r *rule) evaluate(u *unstructured.Unstructured) Health {
	if u.GetDeletionTimestamp() != nil {
		return Health{Status: status.TerminatingStatus, Message: "it is being deleted"}
	}
	if seen, ok, err := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); err == nil && ok && seen != u.GetGeneration() {
		return Health{Status: status.InProgressStatus, Message: "its latest generation is not observed yet"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxEvaluation)
	defer cancel()
	for _, s := range r.steps {
		yes, err := s.expr.Bool(ctx, u.Object)
		if err != nil {
			return Health{Status: status.UnknownStatus, Message: explain(u, err)}
		}
		if yes {
			return Health{Status: s.status, Message: "by expression"}
		}
	}
	return Health{Status: status.InProgressStatus, Message: "no expression is true"}
}
