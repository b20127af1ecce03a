// Package config holds the settings of manifest-renderer.
package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
)

// Config is what manifest-renderer can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	// SealKeyFile holds the key that rendered sets are sealed with, at least 32 random bytes, shared with applier alone.
	SealKeyFile string
	// Concurrency is how many applications are rendered at once.
	Concurrency int
	// TreeCacheBytes bounds the unpacked revisions kept in memory.
	TreeCacheBytes int64
	// SOPSAgeSecret is the Secret, as namespace/name, with age identities for Kustomizations whose spec.decryption names none.
	SOPSAgeSecret string
	// ObjectIdentities lets spec.decryption name service accounts with whose identity clouds are asked, and DefaultDecryptionServiceAccount
	// is the account of those that name none; empty for the identity of the process.
	ObjectIdentities                bool
	DefaultDecryptionServiceAccount string
	// StrictSubstitution makes a variable without value an error.
	StrictSubstitution bool
	// NoRemoteBases refuses kustomizations that name anything by address.
	NoRemoteBases bool
	// RemoteBasesAllow are networks (CIDR) that remote bases may come from although they are this machine or serve its
	// metadata.
	RemoteBasesAllow []string
	// RemoteBasesDiskBytes bounds the repositories of remote bases on disk, but for those that are being fetched.
	RemoteBasesDiskBytes int64
}

// Default returns the settings for a pod; SealKeyFile must be added.
func Default() Config {
	return Config{Concurrency: 8, TreeCacheBytes: 128 << 20, RemoteBasesDiskBytes: 2 << 30}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.SealKeyFile, "seal-key-file", c.SealKeyFile, "file with the key that rendered sets are sealed with (32 random bytes or more)")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "applications rendered at once")
	f.Int64Var(&c.TreeCacheBytes, "tree-cache-bytes", c.TreeCacheBytes, "bytes of unpacked revisions kept in memory")
	f.StringVar(&c.SOPSAgeSecret, "sops-age-secret", c.SOPSAgeSecret, "Secret (namespace/name) with age keys for Kustomizations whose spec.decryption names no Secret")
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let spec.decryption name a service account with whose identity a cloud's key management service is asked")
	f.StringVar(&c.DefaultDecryptionServiceAccount, "default-decryption-service-account", c.DefaultDecryptionServiceAccount, "service account to ask key management services with, where spec.decryption names none")
	f.BoolVar(&c.StrictSubstitution, "strict-substitution", c.StrictSubstitution, "fail on variables without a value or default, as Flux's feature gate StrictPostBuildSubstitutions does")
	f.BoolVar(&c.NoRemoteBases, "no-remote-bases", c.NoRemoteBases, "refuse kustomizations that name bases, components or files by address")
	f.StringSliceVar(&c.RemoteBasesAllow, "remote-bases-allow", c.RemoteBasesAllow, "networks (CIDR) that remote bases may come from although they are this machine, link-local or a cloud's metadata")
	f.Int64Var(&c.RemoteBasesDiskBytes, "remote-bases-disk-bytes", c.RemoteBasesDiskBytes, "bytes of repositories of remote bases kept on disk, beside those that are being fetched; those not used for the longest go first")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	if c.SealKeyFile == "" {
		return fmt.Errorf("--seal-key-file is missing")
	}
	if c.Concurrency < 1 {
		return fmt.Errorf("--concurrency %d: want at least 1", c.Concurrency)
	}
	if c.RemoteBasesDiskBytes < 1 {
		return fmt.Errorf("--remote-bases-disk-bytes %d: want at least 1", c.RemoteBasesDiskBytes)
	}
	if c.DefaultDecryptionServiceAccount != "" && !c.ObjectIdentities {
		return fmt.Errorf("--default-decryption-service-account needs --object-level-workload-identity")
	}
	_, err := c.AgeSecret()
	if err == nil {
		_, err = c.AllowedNetworks()
	}
	return err
}

// AllowedNetworks is RemoteBasesAllow, parsed.
func (c *Config) AllowedNetworks() ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range c.RemoteBasesAllow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--remote-bases-allow %q: want a network such as 192.0.2.0/24", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// AgeSecret is SOPSAgeSecret, parsed; empty when it is.
func (c *Config) AgeSecret() (types.NamespacedName, error) {
	if c.SOPSAgeSecret == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, ok := strings.Cut(c.SOPSAgeSecret, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return types.NamespacedName{}, fmt.Errorf("--sops-age-secret %q: want namespace/name", c.SOPSAgeSecret)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
