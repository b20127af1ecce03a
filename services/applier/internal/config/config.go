// Package config holds the settings of applier.
package config

import (
	"fmt"

	"github.com/spf13/pflag"
)

// Config is what applier can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	// SealKeyFile holds the key that rendered sets are sealed with, shared with manifest-renderer alone.
	SealKeyFile string
	// Concurrency is how many applications are applied at once.
	Concurrency int
	// Requests is how many requests to the API server are under way at once, over all applications.
	Requests int
	// DefaultServiceAccount is impersonated for Kustomizations that name none; empty for applier's own rights.
	DefaultServiceAccount string
	// DefaultKubeConfigServiceAccount authenticates at other clusters for ConfigMaps of spec.kubeConfig that name none; empty for applier's
	// own identity.
	DefaultKubeConfigServiceAccount string
	// ObjectIdentities lets such ConfigMaps name service accounts.
	ObjectIdentities bool
	// WatchedClusters is how many other clusters are watched at once, those that the most Kustomizations name.
	WatchedClusters int
	// PruneGuard holds prunes that take away much or precious things until they are acknowledged.
	PruneGuard bool
	// PruneGuardShare is the share of an inventory, 0 to 1, above which a prune is much; 1 for never.
	PruneGuardShare float64
}

// Default returns the settings for a pod; SealKeyFile must be added.
func Default() Config {
	return Config{Concurrency: 16, Requests: 32, WatchedClusters: 100, PruneGuard: true, PruneGuardShare: 0.3}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.SealKeyFile, "seal-key-file", c.SealKeyFile, "file with the key that rendered sets are sealed with (32 random bytes or more)")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "applications applied at once")
	f.IntVar(&c.Requests, "requests", c.Requests, "requests to the API server under way at once")
	f.StringVar(&c.DefaultServiceAccount, "default-service-account", c.DefaultServiceAccount, "service account to impersonate where a Kustomization names none")
	f.StringVar(&c.DefaultKubeConfigServiceAccount, "default-kubeconfig-service-account", c.DefaultKubeConfigServiceAccount, "service account to authenticate at other clusters with, where a ConfigMap of spec.kubeConfig names none")
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let ConfigMaps of spec.kubeConfig name service accounts to authenticate with")
	f.IntVar(&c.WatchedClusters, "watched-clusters", c.WatchedClusters, "other clusters watched at once, those that the most Kustomizations name; in the others drift is found at the interval")
	f.BoolVar(&c.PruneGuard, "prune-guard", c.PruneGuard, "hold a prune of much, of Namespaces, CRDs or PersistentVolumeClaims, or of everything, until it is acknowledged")
	f.Float64Var(&c.PruneGuardShare, "prune-guard-share", c.PruneGuardShare, "share of at least 10 objects above which a prune is held, 0 to 1")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	if c.SealKeyFile == "" {
		return fmt.Errorf("--seal-key-file is missing")
	}
	if c.Concurrency < 1 || c.Requests < 1 {
		return fmt.Errorf("--concurrency and --requests: want at least 1")
	}
	if c.WatchedClusters < 1 {
		return fmt.Errorf("--watched-clusters %d: want at least 1", c.WatchedClusters)
	}
	if c.DefaultKubeConfigServiceAccount != "" && !c.ObjectIdentities {
		return fmt.Errorf("--default-kubeconfig-service-account needs --object-level-workload-identity")
	}
	if c.PruneGuardShare < 0 || c.PruneGuardShare > 1 {
		return fmt.Errorf("--prune-guard-share: want 0 to 1")
	}
	return nil
}
