package handler

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/live"
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

// placeOf names the description of the cluster that spec.kubeConfig, which must be there, leads to.
func placeOf(k *kustomizev1.Kustomization) live.Place {
	if ref := k.Spec.KubeConfig.ConfigMapRef; ref != nil {
		return live.Place{Kind: "ConfigMap", Namespace: k.Namespace, Name: ref.Name}
	}
	p := live.Place{Kind: "Secret", Namespace: k.Namespace}
	if ref := k.Spec.KubeConfig.SecretRef; ref != nil {
		p.Name, p.Key = ref.Name, ref.Key
	}
	return p
}

// clusterName tells clusters apart by where they are reached and whom to trust there.
func clusterName(c *rest.Config) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", c.Host, c.ServerName, c.CAData)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// digest tells descriptions apart, and says nothing of them to others.
func (a *Applier) digest(description []byte) string {
	h := hmac.New(sha256.New, a.Sealer.NameKey())
	h.Write(description)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// find is cluster for the watchers.
func (a *Applier) find(ctx context.Context, at live.Place) (live.Cluster, error) {
	c, err := a.cluster(ctx, at)
	if f := (*fault)(nil); errors.As(err, &f) {
		return live.Cluster{}, fmt.Errorf("%w: %w", live.ErrNoCluster, err)
	}
	if err != nil {
		return live.Cluster{}, err
	}
	return live.Cluster{Digest: a.digest(c.content), Config: c.config}, nil
}

// cluster reads the description of another cluster.
func (a *Applier) cluster(ctx context.Context, at live.Place) (*elsewhere, error) {
	key := types.NamespacedName{Namespace: at.Namespace, Name: at.Name}
	if at.Kind == "ConfigMap" {
		return a.clusterOfConfigMap(ctx, key)
	}
	c := &elsewhere{name: fmt.Sprintf("secret '%s'", key)}
	data, err := a.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return nil, c.fault(fmt.Errorf("not found"))
	}
	if err != nil {
		return nil, err
	}
	if c.content, err = remote.Pick(data, at.Key); err != nil {
		return nil, c.fault(err)
	}
	if at.Key != "" {
		c.name += " key " + at.Key
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
