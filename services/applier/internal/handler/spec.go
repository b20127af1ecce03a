package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/expression"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/health"
)

// checkSpec says why the set must not be applied now: rules that are wrong, or a dependency that is not ready.
func (a *Applier) checkSpec(ctx context.Context, j *job) error {
	if err := j.compile(); err != nil {
		return err
	}
	return a.checkDependencies(ctx, j)
}

// compile prepares the rules and expressions of the spec.
func (j *job) compile() (err error) {
	if j.ignore, err = apply.CompileIgnore(j.k.Spec.Ignore); err != nil {
		return &fault{reason: meta.ReconciliationFailedReason, message: "spec.ignore: " + err.Error(), stalled: true}
	}
	if j.exprs, err = health.Compile(j.k.Spec.HealthCheckExprs); err != nil {
		return &fault{reason: meta.InvalidCELExpressionReason, message: err.Error(), stalled: true}
	}
	return nil
}

// checkDependencies looks at each Kustomization that must be ready first. The fact that one of them was applied wakes this one again.
func (a *Applier) checkDependencies(ctx context.Context, j *job) error {
	for i, key := range kube.Dependencies(j.k) {
		err := a.checkDependency(ctx, j, key, j.k.Spec.DependsOn[i].ReadyExpr)
		var unready *unreadyError
		if errors.As(err, &unready) {
			return &fault{reason: meta.DependencyNotReadyReason, message: err.Error(), cause: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unreadyError says that a dependency is not ready. Patience mends that, unless it is wrong: it does not exist or may not be looked at.
type unreadyError struct {
	message string
	wrong   bool
}

func (e *unreadyError) Error() string { return e.message }

func (a *Applier) checkDependency(ctx context.Context, j *job, key types.NamespacedName, readyExpr string) error {
	if a.NoCrossNamespaceRefs && key.Namespace != j.k.Namespace {
		return &unreadyError{message: fmt.Sprintf("can't access dependency '%s', cross-namespace references have been blocked", key), wrong: true}
	}
	dep := &kustomizev1.Kustomization{}
	err := a.Cluster.Client.Get(ctx, key, dep)
	switch {
	case apierrors.IsNotFound(err):
		return &unreadyError{message: fmt.Sprintf("dependency '%s' not found", key), wrong: true}
	case err != nil:
		return fmt.Errorf("read dependency %s: %w", key, err)
	case readyExpr != "":
		return isReadyBy(ctx, readyExpr, j.k, dep)
	case !isReady(dep) || dep.Status.ObservedGeneration != dep.Generation:
		return &unreadyError{message: fmt.Sprintf("dependency '%s' is not ready", key)}
	case sameSource(j.k, dep) && dep.Status.LastAppliedRevision != j.rendered.SourceRevision:
		return &unreadyError{message: fmt.Sprintf("dependency '%s' is not at revision %s yet", key, j.rendered.SourceRevision)}
	}
	return nil
}

// maxReadyExpr bounds the time of an expression about a dependency.
const maxReadyExpr = time.Second

// isReadyBy says by an expression whether a dependency is ready: that is all that is asked of it then.
func isReadyBy(ctx context.Context, text string, self, dep *kustomizev1.Kustomization) error {
	expr, err := expression.Compile(text, "self", "dep")
	if err != nil {
		return &fault{reason: meta.InvalidCELExpressionReason, message: "spec.dependsOn.readyExpr: " + err.Error(), stalled: true}
	}
	variables := map[string]any{}
	for name, k := range map[string]*kustomizev1.Kustomization{"self": self, "dep": dep} {
		if variables[name], err = runtime.DefaultUnstructuredConverter.ToUnstructured(k); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxReadyExpr)
	defer cancel()
	ready, err := expr.Bool(ctx, variables)
	key := client.ObjectKeyFromObject(dep)
	if err != nil {
		return &unreadyError{message: fmt.Sprintf("dependency '%s' is not ready: %v", key, err)}
	}
	if !ready {
		return &unreadyError{message: fmt.Sprintf("dependency '%s' is not ready according to readyExpr eval", key)}
	}
	return nil
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	return a.Spec.SourceRef.Kind == b.Spec.SourceRef.Kind && kube.SourceOf(a) == kube.SourceOf(b)
}

// identity is the user whose rights a Kustomization is applied with; empty for those of the credentials.
func (a *Applier) identity(k *kustomizev1.Kustomization) string {
	if account := a.account(k); account != "" {
		return fmt.Sprintf("system:serviceaccount:%s:%s", k.Namespace, account)
	}
	return ""
}

// account is the service account to impersonate, empty for none.
func (a *Applier) account(k *kustomizev1.Kustomization) string {
	return cmp.Or(k.Spec.ServiceAccountName, a.DefaultAccount)
}
