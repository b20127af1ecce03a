package handler

import (
	"context"
	"fmt"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/registry"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// Hinted lists the ImageRepositories that a call from outside is about: those that it names, and those whose image is exactly one that it
// names. Their listings, however fresh, are to be made anew: that is noted before anybody is woken.
func (s *Scanner) Hinted(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
	repo := &imagev1.ImageRepository{}
	keys, err := s.Cluster.Hinted(ctx, h, imagev1.ImageRepositoryKind, repo)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := s.Cluster.Cache.Get(ctx, key, repo); err != nil {
			return nil, fmt.Errorf("look for image repository %s: %w", key, err)
		}
		if image, err := registry.ParseImage(repo.Spec.Image); err == nil {
			if err := s.Cache.NotePush(ctx, image.String()); err != nil {
				return nil, err
			}
		}
	}
	for _, image := range h.GetImages() {
		followers, err := s.followers(ctx, image)
		if err != nil {
			return nil, err
		}
		keys = append(keys, followers...)
	}
	return keys, nil
}

// followers lists the ImageRepositories of an image, of whose push it takes note if there are any.
func (s *Scanner) followers(ctx context.Context, image string) ([]types.NamespacedName, error) {
	var list imagev1.ImageRepositoryList
	if err := s.Cluster.Cache.List(ctx, &list, client.MatchingFields{imageIndex: image}); err != nil {
		return nil, fmt.Errorf("list image repositories by image: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	keys := make([]types.NamespacedName, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return keys, s.Cache.NotePush(ctx, image)
}
