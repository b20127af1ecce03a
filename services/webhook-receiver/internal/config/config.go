// Package config holds the settings of webhook-receiver.
package config

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

// Config is what webhook-receiver can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	// Addr is the listen address for calls; empty for none.
	Addr string
	// Concurrency is how many calls are worked on at once, once their bodies are there.
	Concurrency int
	// MaxBody bounds the body of a call, in bytes.
	MaxBody int64
	// ReplayWindow is how long a call is remembered, so that the same one again is no news.
	ReplayWindow time.Duration
	// AllowSources are networks that calls may come from; empty for all.
	AllowSources []string
	// TrustedProxies are networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []string
	// SourceRate is how many calls per second one source may make, SourceBurst how many at once after a pause. A rate of 0 is any number.
	SourceRate  float64
	SourceBurst int
	// EndpointSecret is the Secret (namespace/name), EndpointKeysDir the directory, with the keys of the installation's own addresses; empty for none.
	EndpointSecret, EndpointKeysDir string
	// GoogleKeysURL is where the keys are that sign Google's tokens; empty for where they really are.
	GoogleKeysURL string
	// Issuers asks issuers of tokens; nil for a client that keeps away from this machine.
	Issuers *http.Client
}

// Default returns the settings for a pod.
func Default() Config {
	return Config{
		Addr: ":9292", Concurrency: 256, MaxBody: 3 << 20, ReplayWindow: time.Hour, SourceRate: 500, SourceBurst: 1000,
	}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Addr, "webhook-addr", c.Addr, "listen address for calls of hosts; empty for none")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "calls worked on at once")
	c.AddWebhookFlags(f)
}

// AddWebhookFlags defines a flag for each setting about who may call and how.
func (c *Config) AddWebhookFlags(f *pflag.FlagSet) {
	f.Int64Var(&c.MaxBody, "webhook-max-body", c.MaxBody, "most bytes that the body of a call may have")
	f.DurationVar(&c.ReplayWindow, "webhook-replay-window", c.ReplayWindow, "how long a call is remembered, so that the same one again is no news; 0 for not at all")
	f.StringSliceVar(&c.AllowSources, "webhook-allow-sources", c.AllowSources, "networks (CIDR) that calls may come from; empty for all")
	f.StringSliceVar(&c.TrustedProxies, "webhook-trusted-proxies", c.TrustedProxies, "networks (CIDR) of proxies whose X-Forwarded-For is believed")
	f.Float64Var(&c.SourceRate, "webhook-source-rps", c.SourceRate, "calls per second that one source may make; 0 for any number")
	f.IntVar(&c.SourceBurst, "webhook-source-burst", c.SourceBurst, "calls that one source may make at once after a pause")
	f.StringVar(&c.EndpointSecret, "webhook-endpoint-secret", c.EndpointSecret, "Secret (namespace/name) with the keys of the installation's own addresses, /hook/<type>")
	f.StringVar(&c.EndpointKeysDir, "webhook-endpoint-keys-dir", c.EndpointKeysDir, "directory with these keys, one file each, in place of the Secret")
	f.StringVar(&c.GoogleKeysURL, "google-keys-url", c.GoogleKeysURL, "where to get the keys that sign Google's tokens; empty for Google's address")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	switch {
	case c.Concurrency < 1:
		return fmt.Errorf("--concurrency %d: want at least 1", c.Concurrency)
	case c.MaxBody < 1024 || c.MaxBody > 64<<20:
		return fmt.Errorf("--webhook-max-body %d: want 1 KiB to 64 MiB", c.MaxBody)
	case c.ReplayWindow < 0 || c.ReplayWindow > 6*time.Hour:
		return fmt.Errorf("--webhook-replay-window %s: want 0 to 6h", c.ReplayWindow)
	case !(c.SourceRate >= 0):
		return fmt.Errorf("--webhook-source-rps %v: want 0 or more", c.SourceRate)
	case c.SourceBurst < 1:
		return fmt.Errorf("--webhook-source-burst %d: want at least 1", c.SourceBurst)
	case c.EndpointSecret != "" && c.EndpointKeysDir != "":
		return fmt.Errorf("--webhook-endpoint-secret and --webhook-endpoint-keys-dir: want one of them")
	}
	if _, err := c.Sources(); err != nil {
		return fmt.Errorf("--webhook-allow-sources: %w", err)
	}
	if _, err := c.Proxies(); err != nil {
		return fmt.Errorf("--webhook-trusted-proxies: %w", err)
	}
	_, err := c.Secret()
	return err
}

// Sources are the networks of AllowSources.
func (c *Config) Sources() ([]netip.Prefix, error) {
	return door.Networks(strings.Join(c.AllowSources, ","))
}

// Proxies are the networks of TrustedProxies.
func (c *Config) Proxies() ([]netip.Prefix, error) {
	return door.Networks(strings.Join(c.TrustedProxies, ","))
}

// Secret is the name of EndpointSecret; the zero name for none.
func (c *Config) Secret() (types.NamespacedName, error) {
	if c.EndpointSecret == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, found := strings.Cut(c.EndpointSecret, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return types.NamespacedName{}, fmt.Errorf("--webhook-endpoint-secret %q: want namespace/name", c.EndpointSecret)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
