package handler

import (
	"context"
	"encoding/json"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/remote"
)

// elsewhere is another cluster, as a Secret or a ConfigMap describes it.
type elsewhere struct {
	name    string // of the description
	content []byte
	config  configure
}

// fault says what is wrong with the description, or with what it leads to.
func (c *elsewhere) fault(err error) error {
	return &fault{reason: meta.ReconciliationFailedReason, message: fmt.Sprintf("spec.kubeConfig: %s: %v", c.name, err), cause: err}
}

// cluster reads the description of the cluster that spec.kubeConfig names.
func (a *Applier) cluster(ctx context.Context, k *kustomizev1.Kustomization) (*elsewhere, error) {
	if ref := k.Spec.KubeConfig.ConfigMapRef; ref != nil {
		return a.clusterOfConfigMap(ctx, types.NamespacedName{Namespace: k.Namespace, Name: ref.Name})
	}
	ref := k.Spec.KubeConfig.SecretRef
	key := types.NamespacedName{Namespace: k.Namespace, Name: ref.Name}
	c := &elsewhere{name: fmt.Sprintf("secret '%s'", key)}
	data, err := a.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return nil, c.fault(fmt.Errorf("not found"))
	}
	if err != nil {
		return nil, err
	}
	if c.content, err = remote.Pick(data, ref.Key); err != nil {
		return nil, c.fault(err)
	}
	if ref.Key != "" {
		c.name += " key " + ref.Key
	}
	c.config = func() (*rest.Config, error) { return remote.Config(c.content) }
	return c, nil
}

func (a *Applier) clusterOfConfigMap(ctx context.Context, key types.NamespacedName) (*elsewhere, error) {
	c := &elsewhere{name: fmt.Sprintf("configmap '%s'", key)}
	found := &corev1.ConfigMap{}
	err := a.Cluster.Client.Get(ctx, key, found)
	if apierrors.IsNotFound(err) {
		return nil, c.fault(fmt.Errorf("not found"))
	}
	if err != nil {
		return nil, fmt.Errorf("read configmap %s: %w", key, err)
	}
	if c.content, err = json.Marshal(found.Data); err != nil {
		return nil, fmt.Errorf("read configmap %s: %w", key, err)
	}
	c.config = func() (*rest.Config, error) { return a.Identities.Config(ctx, key.Namespace, found.Data) }
	return c, nil
}
