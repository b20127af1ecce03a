package handler

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/remote"
)

// Engines makes one apply engine for each cluster and identity, so that each sees and does only what that identity may.
type Engines struct {
	config   *rest.Config
	requests int

	mu     sync.Mutex
	byUser map[identity]made
}

// identity is as whom to apply, and where.
type identity struct {
	user       string // to impersonate; empty for the credentials' own
	kubeconfig string // names the Secret and key of another cluster's kubeconfig; empty for this cluster
}

// made is an engine with a digest of the kubeconfig it was made from: when that is another, so is the engine.
type made struct {
	engine *apply.Engine
	digest [sha256.Size]byte
}

// NewEngines makes engines from applier's own credentials; requests is how many requests of one identity are under way at once.
func NewEngines(config *rest.Config, requests int) *Engines {
	return &Engines{config: config, requests: requests, byUser: map[identity]made{}}
}

// get returns the engine of an identity. kubeconfig is the content behind its name.
func (e *Engines) get(who identity, kubeconfig []byte) (*apply.Engine, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	digest := sha256.Sum256(kubeconfig)
	if known, ok := e.byUser[who]; ok && known.digest == digest {
		return known.engine, nil
	}
	config := rest.CopyConfig(e.config)
	if who.kubeconfig != "" {
		var err error
		if config, err = remote.Config(kubeconfig); err != nil {
			return nil, err
		}
		config.UserAgent = e.config.UserAgent
	}
	if who.user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: who.user}
	}
	engine, err := apply.New(config, apply.Config{Concurrency: e.requests})
	if err != nil {
		return nil, fmt.Errorf("make apply engine for %q: %w", who.user, err)
	}
	e.byUser[who] = made{engine, digest}
	return engine, nil
}

// engine returns the engine for a Kustomization's cluster and identity. What people can mend is a *fault.
func (a *Applier) engine(ctx context.Context, k *kustomizev1.Kustomization) (*apply.Engine, error) {
	who := identity{user: a.identity(k)}
	ref := k.Spec.KubeConfig
	if ref == nil {
		return a.Engines.get(who, nil)
	}
	if ref.SecretRef == nil {
		return nil, &fault{reason: meta.ReconciliationFailedReason, message: "spec.kubeConfig.configMapRef is not served by this version of Sluice", stalled: true}
	}
	key := types.NamespacedName{Namespace: k.Namespace, Name: ref.SecretRef.Name}
	data, err := a.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return nil, &fault{reason: meta.ReconciliationFailedReason, message: fmt.Sprintf("spec.kubeConfig: secret '%s' not found", key), cause: err}
	}
	if err != nil {
		return nil, err
	}
	kubeconfig, err := remote.Pick(data, ref.SecretRef.Key)
	if err == nil {
		who.kubeconfig = key.String() + "/" + ref.SecretRef.Key
		var engine *apply.Engine
		if engine, err = a.Engines.get(who, kubeconfig); err == nil {
			return engine, nil
		}
	}
	return nil, &fault{reason: meta.ReconciliationFailedReason, message: fmt.Sprintf("spec.kubeConfig: secret '%s': %v", key, err), cause: err}
}
