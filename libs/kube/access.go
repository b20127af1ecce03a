package kube

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/acl"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// MayRefer says whether objects of a namespace may refer to an object of another one that has spec.accessFrom: within one namespace
// always, from another one where a selector matches the labels of that namespace. Without accessFrom, nobody else may. It is asked at
// each use, of the API server: whoever may label a namespace decides.
func (c *Cluster) MayRefer(ctx context.Context, from string, to types.NamespacedName, access *acl.AccessFrom) (bool, error) {
	if from == to.Namespace {
		return true, nil
	}
	if access == nil || len(access.NamespaceSelectors) == 0 {
		return false, nil
	}
	var namespace corev1.Namespace
	if err := c.Client.Get(ctx, types.NamespacedName{Name: from}, &namespace); err != nil {
		return false, fmt.Errorf("read labels of namespace %s: %w", from, err)
	}
	for _, s := range access.NamespaceSelectors {
		if labels.SelectorFromSet(s.MatchLabels).Matches(labels.Set(namespace.Labels)) {
			return true, nil
		}
	}
	return false, nil
}
