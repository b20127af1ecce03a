// Package config holds the settings of registry-scanner.
package config

import (
	"fmt"
	"path"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
)

// Config is what registry-scanner can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	Redis imagecache.Options
	// Concurrency is how many images are scanned at once.
	Concurrency int
	// Rate is how many requests each registry host gets from all replicas together; they must all have the same.
	Rate imagecache.Rate
	imageaccess.Rules
	// TokenHosts are token services that get the credential of any registry that names them, beside those on the registry's own domain.
	TokenHosts []string
	// ObjectIdentities lets ImageRepositories name a service account with whose identity a cloud is asked; it is the feature gate
	// ObjectLevelWorkloadIdentity of Flux.
	ObjectIdentities bool
}

// Default returns the settings for a pod.
func Default() Config {
	return Config{
		Concurrency: 16, Rate: imagecache.Rate{PerSecond: 20, Burst: 20}, Rules: imageaccess.DefaultRules(),
		TokenHosts: []string{"sso.redhat.com"},
	}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	c.Redis.AddFlags(f)
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "images scanned at once")
	c.AddRegistryFlags(f)
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let ImageRepositories name a service account with whose identity a cloud is asked for credentials")
}

// AddRegistryFlags defines a flag for each setting about registries alone.
func (c *Config) AddRegistryFlags(f *pflag.FlagSet) {
	f.Float64Var(&c.Rate.PerSecond, "registry-rps", c.Rate.PerSecond, "requests per second that each registry host gets, from all replicas together; 0 for any number")
	f.IntVar(&c.Rate.Burst, "registry-burst", c.Rate.Burst, "requests that a registry host may get at once after a pause")
	c.Rules.AddFlags(f)
	f.StringSliceVar(&c.TokenHosts, "registry-token-hosts", c.TokenHosts, "token services that get the login for any registry that names them, beside those on the registry's own domain; * for any part of a name")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	if err := c.Redis.Validate(); err != nil {
		return err
	}
	switch {
	case c.Concurrency < 1:
		return fmt.Errorf("--concurrency %d: want at least 1", c.Concurrency)
	case !(c.Rate.PerSecond >= 0):
		return fmt.Errorf("--registry-rps %v: want 0 or more", c.Rate.PerSecond)
	case c.Rate.Burst < 1:
		return fmt.Errorf("--registry-burst %d: want at least 1", c.Rate.Burst)
	}
	for _, pattern := range c.TokenHosts {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("--registry-token-hosts: %q is no pattern", pattern)
		}
	}
	return c.Rules.Validate()
}
