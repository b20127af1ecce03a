package handler

import (
	"context"
	"fmt"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/stage"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// hinted lists the ImagePolicies that a call from outside is about: those that it names, and those that follow the digest of a tag of an
// image that it names. Other policies wait for the scan of their image, which tells them whether there is anything new.
func (p *Policies) hinted(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
	keys, err := p.Env.Cluster.Hinted(ctx, h, imagev1.ImagePolicyKind, &imagev1.ImagePolicy{})
	if err != nil {
		return nil, err
	}
	repositories := stage.Named(h, imagev1.ImageRepositoryKind)
	for _, image := range h.GetImages() {
		found, err := p.repositoriesOf(ctx, image)
		if err != nil {
			return nil, err
		}
		repositories = append(repositories, found...)
	}
	for _, repository := range repositories {
		found, err := p.digestFollowers(ctx, repository)
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

// imageIndex has a name of its own: in one process with others, all share the cache.
const imageIndex = "image-updater/image"

// indexImages lets hinted find ImageRepositories by their image.
func indexImages(ctx context.Context, c client.FieldIndexer) error {
	err := c.IndexField(ctx, &imagev1.ImageRepository{}, imageIndex, func(o client.Object) []string {
		if repo, ok := o.(*imagev1.ImageRepository); ok {
			if image, err := registry.ParseImage(repo.Spec.Image); err == nil {
				return []string{image.String()}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index images: %w", err)
	}
	return nil
}

func (p *Policies) repositoriesOf(ctx context.Context, image string) ([]types.NamespacedName, error) {
	var list imagev1.ImageRepositoryList
	if err := p.Env.Cluster.Cache.List(ctx, &list, client.MatchingFields{imageIndex: image}); err != nil {
		return nil, fmt.Errorf("list image repositories by image: %w", err)
	}
	keys := make([]types.NamespacedName, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return keys, nil
}

// digestFollowers lists the policies of an ImageRepository that follow the digest of a tag, and notes the push for them.
func (p *Policies) digestFollowers(ctx context.Context, repository types.NamespacedName) ([]types.NamespacedName, error) {
	var list imagev1.ImagePolicyList
	if err := p.Env.Cluster.Cache.List(ctx, &list, client.MatchingFields{repositoryIndex: repository.String()}); err != nil {
		return nil, fmt.Errorf("list image policies: %w", err)
	}
	var keys []types.NamespacedName
	for i := range list.Items {
		if list.Items[i].GetDigestReflectionPolicy() == imagev1.ReflectAlways {
			keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return keys, p.notePush(ctx, repository)
}

func (p *Policies) notePush(ctx context.Context, repository types.NamespacedName) error {
	repo := &imagev1.ImageRepository{}
	if err := p.Env.Cluster.Cache.Get(ctx, repository, repo); err != nil {
		return client.IgnoreNotFound(err)
	}
	image, err := registry.ParseImage(repo.Spec.Image)
	if err != nil {
		return nil // its status says so
	}
	return p.Cache.NotePush(ctx, image.String())
}
