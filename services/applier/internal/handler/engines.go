package handler

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
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
	kubeconfig string // names where another cluster is described; empty for this cluster
}

// made is an engine with a digest of the description it was made from: when that is another, so is the engine.
type made struct {
	engine *apply.Engine
	digest [sha256.Size]byte
}

// NewEngines makes engines from applier's own credentials; requests is how many requests of one identity are under way at once.
func NewEngines(config *rest.Config, requests int) *Engines {
	return &Engines{config: config, requests: requests, byUser: map[identity]made{}}
}

// configure makes the configuration of a client.
type configure func() (*rest.Config, error)

// get returns the engine of an identity. content is what stands behind the name of another cluster, and config what it makes.
func (e *Engines) get(who identity, content []byte, config configure) (*apply.Engine, error) {
	digest := sha256.Sum256(content)
	if known, ok := e.known(who); ok && known.digest == digest {
		return known.engine, nil
	}
	c, err := config() // may ask others, and they may be slow: nobody else waits for that
	if err != nil {
		return nil, err
	}
	c.UserAgent = e.config.UserAgent
	if who.user != "" {
		c.Impersonate = rest.ImpersonationConfig{UserName: who.user}
	}
	engine, err := apply.New(c, apply.Config{Concurrency: e.requests})
	if err != nil {
		return nil, fmt.Errorf("make apply engine for %q: %w", who.user, err)
	}
	return e.keep(who, made{engine, digest}), nil
}

func (e *Engines) known(who identity) (made, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.byUser[who]
	return m, ok
}

// keep returns the engine that is kept for an identity: the one that somebody else has made of the same meanwhile, or this one.
func (e *Engines) keep(who identity, m made) *apply.Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	if other, ok := e.byUser[who]; ok && other.digest == m.digest {
		return other.engine
	}
	e.byUser[who] = m
	return m.engine
}

// engine returns the engine for a Kustomization's cluster and identity. What people can mend is a *fault.
func (a *Applier) engine(ctx context.Context, k *kustomizev1.Kustomization) (*apply.Engine, error) {
	if k.Spec.KubeConfig == nil {
		return a.Engines.get(identity{user: a.identity(k)}, nil, func() (*rest.Config, error) { return rest.CopyConfig(a.Engines.config), nil })
	}
	c, err := a.cluster(ctx, k)
	if err != nil {
		return nil, err
	}
	engine, err := a.Engines.get(identity{user: a.identity(k), kubeconfig: c.name}, c.content, c.config)
	if err != nil {
		return nil, c.fault(err)
	}
	return engine, nil
}
