package handler

import (
	"context"
	"errors"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/kube"
)

// checkSpec says why the set must not be applied now: a field that is not served, or a dependency that is not ready.
func (a *Applier) checkSpec(ctx context.Context, j *job) error {
	for field, used := range map[string]bool{
		"spec.kubeConfig":       j.k.Spec.KubeConfig != nil,
		"spec.wait":             j.k.Spec.Wait,
		"spec.healthChecks":     len(j.k.Spec.HealthChecks) > 0,
		"spec.healthCheckExprs": len(j.k.Spec.HealthCheckExprs) > 0,
		"spec.ignore":           len(j.k.Spec.Ignore) > 0,
	} {
		if used {
			return &fault{reason: meta.ReconciliationFailedReason, message: field + " is not served by this version of Sluice", stalled: true}
		}
	}
	return a.checkDependencies(ctx, j)
}

// checkDependencies looks at each Kustomization that must be ready first. The fact that one of them was applied wakes this one again.
func (a *Applier) checkDependencies(ctx context.Context, j *job) error {
	for i, key := range kube.Dependencies(j.k) {
		if j.k.Spec.DependsOn[i].ReadyExpr != "" {
			return &fault{reason: meta.ReconciliationFailedReason, message: "spec.dependsOn.readyExpr is not served by this version of Sluice", stalled: true}
		}
		err := a.checkDependency(ctx, j, key)
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

type unreadyError struct{ message string }

func (e *unreadyError) Error() string { return e.message }

func (a *Applier) checkDependency(ctx context.Context, j *job, key types.NamespacedName) error {
	if a.NoCrossNamespaceRefs && key.Namespace != j.k.Namespace {
		return &unreadyError{fmt.Sprintf("can't access dependency '%s', cross-namespace references have been blocked", key)}
	}
	dep := &kustomizev1.Kustomization{}
	err := a.Cluster.Client.Get(ctx, key, dep)
	switch {
	case apierrors.IsNotFound(err):
		return &unreadyError{fmt.Sprintf("dependency '%s' not found", key)}
	case err != nil:
		return fmt.Errorf("read dependency %s: %w", key, err)
	case !isReady(dep) || dep.Status.ObservedGeneration != dep.Generation:
		return &unreadyError{fmt.Sprintf("dependency '%s' is not ready", key)}
	case sameSource(j.k, dep) && dep.Status.LastAppliedRevision != j.rendered.SourceRevision:
		return &unreadyError{fmt.Sprintf("dependency '%s' is not at revision %s yet", key, j.rendered.SourceRevision)}
	}
	return nil
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	return a.Spec.SourceRef.Kind == b.Spec.SourceRef.Kind && kube.SourceOf(a) == kube.SourceOf(b)
}

// identity is the user whose rights a Kustomization is applied with; empty for applier's own.
func (a *Applier) identity(k *kustomizev1.Kustomization) string {
	account := k.Spec.ServiceAccountName
	if account == "" {
		account = a.DefaultAccount
	}
	if account == "" {
		return ""
	}
	return fmt.Sprintf("system:serviceaccount:%s:%s", k.Namespace, account)
}
