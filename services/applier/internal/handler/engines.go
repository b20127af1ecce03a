package handler

import (
	"fmt"
	"sync"

	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
)

// Engines makes one apply engine for each identity, so that each sees and does only what that identity may.
type Engines struct {
	config   *rest.Config
	requests int

	mu     sync.Mutex
	byUser map[string]*apply.Engine
}

// NewEngines makes engines from applier's own credentials; requests is how many requests of one identity are under way at once.
func NewEngines(config *rest.Config, requests int) *Engines {
	return &Engines{config: config, requests: requests, byUser: map[string]*apply.Engine{}}
}

// For returns the engine of an identity; empty for applier's own.
func (e *Engines) For(user string) (*apply.Engine, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if engine := e.byUser[user]; engine != nil {
		return engine, nil
	}
	config := rest.CopyConfig(e.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	engine, err := apply.New(config, apply.Config{Concurrency: e.requests})
	if err != nil {
		return nil, fmt.Errorf("make apply engine for %q: %w", user, err)
	}
	e.byUser[user] = engine
	return engine, nil
}
