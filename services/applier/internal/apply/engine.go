package apply

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// Config sets up an engine. The zero value of each field stands for its default.
type Config struct {
	// FieldManager owns the fields that are applied; default "sluice".
	FieldManager string
	// Concurrency is how many objects all runs of the engine work on at once; default 32.
	Concurrency int
	// Remember is about how many objects the last answer is kept for; default 100000.
	Remember int
	// RequestTimeout bounds one request; default 30 s.
	RequestTimeout time.Duration
	// WaitTimeout bounds what one run waits for CRDs to be established, and one object for its
	// predecessor to be gone; default 2 s. What takes longer is reported as pending.
	WaitTimeout time.Duration
}

func (c Config) withDefaults() Config {
	c.FieldManager = cmp.Or(c.FieldManager, "sluice")
	c.Concurrency = cmp.Or(c.Concurrency, 32)
	c.Remember = cmp.Or(c.Remember, 100_000)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.WaitTimeout = cmp.Or(c.WaitTimeout, 2*time.Second)
	return c
}

// Engine applies and prunes in one cluster, as one user. It is safe for concurrent use. What is
// remembered and the bound on concurrency are shared by all its runs.
type Engine struct {
	config Config
	client *client
	kinds  *kinds
	memory *memory
	// slots holds one token for each object that is being worked on.
	slots chan struct{}
}

// New returns an engine for the cluster and the user of cfg, which is not changed. For another user
// (impersonation) or another cluster, make another engine.
func New(cfg *rest.Config, c Config) (*Engine, error) {
	c = c.withDefaults()
	cfg, httpClient, err := transport(cfg, c.RequestTimeout)
	if err != nil {
		return nil, err
	}
	client, err := newClient(cfg, httpClient, c.FieldManager)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cfg.Host, err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a discovery client for %s: %w", cfg.Host, err)
	}
	return &Engine{
		config: c,
		client: client,
		kinds:  &kinds{client: disco},
		memory: newMemory(c.Remember),
		slots:  make(chan struct{}, c.Concurrency),
	}, nil
}

// transport returns a copy of cfg, and a client made from it, without throttling on our side: the
// API server's own fairness knows better, and the engine bounds its concurrency.
func transport(cfg *rest.Config, timeout time.Duration) (*rest.Config, *http.Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.RateLimiter = -1, nil
	cfg.Timeout = timeout
	cfg.WarningHandler = rest.NoWarnings{}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("make an HTTP client for %s: %w", cfg.Host, err)
	}
	return cfg, httpClient, nil
}

// acquire takes a slot; release gives it back.
func (e *Engine) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) release() { <-e.slots }
