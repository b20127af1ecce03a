package handler

import (
	"context"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/acl"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/libs/stage"
)

// repository reads the ImageRepository that the policy names, if it may choose from it.
func (j *job) repository(ctx context.Context) (*imagev1.ImageRepository, error) {
	const doing = "failed to get the referred ImageRepository: %w"
	key := repositoryOf(j.policy)
	if j.Env.NoCrossNamespaceRefs && key.Namespace != j.policy.Namespace {
		return nil, failed(acl.AccessDeniedReason, fmt.Errorf(doing,
			fmt.Errorf("cannot access '%s/%s', cross-namespace references have been blocked", imagev1.ImageRepositoryKind, key)))
	}
	repo := &imagev1.ImageRepository{}
	err := j.Env.Cluster.Read(ctx, key, repo, 0)
	switch {
	case apierrors.IsNotFound(err):
		return nil, failed(imagev1.DependencyNotReadyReason, fmt.Errorf(doing, fmt.Errorf("referenced %s does not exist: %w", imagev1.ImageRepositoryKind, err)))
	case err != nil:
		return nil, stage.After(5*time.Second, fmt.Errorf(doing, err))
	}
	allowed, err := j.Env.Cluster.MayRefer(ctx, j.policy.Namespace, key, repo.Spec.AccessFrom)
	if err != nil {
		return nil, stage.After(5*time.Second, fmt.Errorf(doing, err))
	}
	if !allowed {
		return nil, failed(acl.AccessDeniedReason, fmt.Errorf(doing,
			fmt.Errorf("access denied: '%s/%s' can't be accessed from namespace %s", imagev1.ImageRepositoryKind, key, j.policy.Namespace)))
	}
	return repo, nil
}
