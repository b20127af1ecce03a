package handler

import (
	"context"
	"fmt"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/git/address"
	"github.com/sluice-cd/sluice/libs/kube"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

const addressIndex = "address"

// IndexAddresses lets Hinted find GitRepositories by their address. It must be called before the cache starts.
func IndexAddresses(ctx context.Context, c *kube.Cluster) error {
	err := c.Cache.IndexField(ctx, &sourcev1.GitRepository{}, addressIndex, func(o client.Object) []string {
		if repo, ok := o.(*sourcev1.GitRepository); ok {
			if normal, err := address.Normal(repo.Spec.URL); err == nil {
				return []string{normal}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index git repositories by address: %w", err)
	}
	return nil
}

// Hinted lists the GitRepositories that a call from outside is about: those that it names, and those whose address is exactly one that it
// names. What it says of a ref or a commit is not looked at.
func (w *Watcher) Hinted(ctx context.Context, h *hintsv1.Hint) ([]types.NamespacedName, error) {
	keys, err := w.Cluster.Hinted(ctx, h, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{})
	if err != nil {
		return nil, err
	}
	for _, normal := range h.GetRepositories() {
		var list sourcev1.GitRepositoryList
		if err := w.Cluster.Cache.List(ctx, &list, client.MatchingFields{addressIndex: strings.ToLower(normal)}); err != nil {
			return nil, fmt.Errorf("list git repositories by address: %w", err)
		}
		for i := range list.Items {
			keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return keys, nil
}
