package registry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cd/sluice/libs/metric"
)

// Budget is how many requests each host may get.
type Budget interface {
	// Take takes one request of a class. It may wait a moment; where that is not enough it returns how long to stay away.
	Take(ctx context.Context, host, class string) (time.Duration, error)
	// Block keeps requests of a class away from a host, of all classes where it is empty; for d, or as long as seems good where d is 0.
	Block(ctx context.Context, host, class string, d time.Duration) error
}

// Classes of requests, as budgets and metrics know them.
const (
	classTags      = "tags"
	classManifests = "manifests"
	classBlobs     = "blobs"
	classToken     = "token"
)

// Options of a Client.
type Options struct {
	Budget    Budget
	UserAgent string
	// TokenHosts are hosts that any registry may name as its token service and that then get the credential, beside those on the
	// registry's own domain.
	TokenHosts []string
	// Connections kept to each host; default 16.
	Connections int
	// HostLabel shortens the list of hosts that metrics name; nil for all of them.
	HostLabel func(string) string
	Registry  prometheus.Registerer // may be nil
}

// Client asks registries. It is for concurrent use, and shares connections and tokens among images.
type Client struct {
	options    Options
	transports *transports
	tokens     *tokens
	requests   *prometheus.CounterVec

	mu     sync.Mutex
	plain  map[string]bool      // hosts that turned out to speak plain HTTP
	learnt map[string]challenge // how a host wants to be asked, by host and credential
}

// maxLearnt bounds each of the maps of a client.
const maxLearnt = 10_000

// New makes a Client.
func New(o Options) (*Client, error) {
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.HostLabel == nil {
		o.HostLabel = func(host string) string { return host }
	}
	c := &Client{
		options: o, plain: map[string]bool{}, learnt: map[string]challenge{}, tokens: newTokens(),
		transports: newTransports(o.Connections),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_registry_requests_total", Help: "Requests to registries and their token services, by host, class and outcome.",
		}, []string{"host", "class", "outcome"}),
	}
	if o.Registry != nil {
		var err error
		if c.requests, err = metric.Shared(o.Registry, c.requests); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Repository is an image as it is reached by an access.
type Repository struct {
	client *Client
	image  Image
	access Access
}

// Repository makes a Repository; nothing is asked.
func (c *Client) Repository(i Image, a Access) *Repository { return &Repository{c, i, a} }

// Host is the registry.
func (r *Repository) Host() string { return r.image.Host() }

func (c *Client) speaksPlain(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plain[host]
}

func (c *Client) rememberPlain(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.plain) >= maxLearnt {
		clear(c.plain)
	}
	c.plain[host] = true
}
