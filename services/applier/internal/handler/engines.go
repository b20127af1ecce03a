package handler

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

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
	engine  *apply.Engine
	digest  [sha256.Size]byte
	cluster string // names the other cluster; empty for this one
	used    time.Time
}

// idleEngine is how long an engine is kept that nobody uses: identities and descriptions of clusters come and go.
const idleEngine = time.Hour

// NewEngines makes engines from applier's own credentials; requests is how many requests of one identity are under way at once.
func NewEngines(config *rest.Config, requests int) *Engines {
	return &Engines{config: config, requests: requests, byUser: map[identity]made{}}
}

// configure makes the configuration of a client.
type configure func() (*rest.Config, error)

// get returns the engine of an identity. content is what stands behind the name of another cluster, and config what it makes.
func (e *Engines) get(who identity, content []byte, config configure) (made, error) {
	digest := sha256.Sum256(content)
	if known, ok := e.known(who); ok && known.digest == digest {
		return known, nil
	}
	c, err := config() // may ask others, and they may be slow: nobody else waits for that
	if err != nil {
		return made{}, err
	}
	m := made{digest: digest}
	if who.kubeconfig != "" {
		m.cluster = clusterName(c)
	}
	c.UserAgent = e.config.UserAgent
	if who.user != "" {
		c.Impersonate = rest.ImpersonationConfig{UserName: who.user}
	}
	if m.engine, err = apply.New(c, apply.Config{Concurrency: e.requests}); err != nil {
		return made{}, fmt.Errorf("make apply engine for %q: %w", who.user, err)
	}
	return e.keep(who, m), nil
}

func (e *Engines) known(who identity) (made, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.byUser[who]
	if ok {
		m.used = time.Now()
		e.byUser[who] = m
	}
	return m, ok
}

// keep returns the engine that is kept for an identity: the one that somebody else has made of the same meanwhile, or this one.
func (e *Engines) keep(who identity, m made) made {
	e.mu.Lock()
	defer e.mu.Unlock()
	if other, ok := e.byUser[who]; ok && other.digest == m.digest {
		return other
	}
	maps.DeleteFunc(e.byUser, func(_ identity, old made) bool { return time.Since(old.used) > idleEngine })
	m.used = time.Now()
	e.byUser[who] = m
	return m
}

// target is an engine for one cluster and identity.
type target struct {
	*apply.Engine
	// cluster names another cluster, and description is a digest of what led to it; both are empty for this one.
	cluster, description string
}

// engine returns the engine for a Kustomization's cluster and identity. What people can mend is a *fault.
func (a *Applier) engine(ctx context.Context, k *kustomizev1.Kustomization) (*target, error) {
	if k.Spec.KubeConfig == nil {
		m, err := a.Engines.get(identity{user: a.identity(k)}, nil, func() (*rest.Config, error) { return rest.CopyConfig(a.Engines.config), nil })
		return &target{Engine: m.engine}, err
	}
	c, err := a.cluster(ctx, placeOf(k))
	if err != nil {
		return nil, err
	}
	m, err := a.Engines.get(identity{user: a.identity(k), kubeconfig: c.name}, c.content, c.config)
	if err != nil {
		return nil, c.fault(err)
	}
	return &target{m.engine, m.cluster, a.digest(c.content)}, nil
}
