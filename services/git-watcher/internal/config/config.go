// Package config holds the settings of git-watcher.
package config

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"
)

// Config is what git-watcher can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	// DataDir holds the mirrors of repositories. It is a cache: it may be empty, lost, or on an emptyDir.
	DataDir string
	// Concurrency is how many repositories are looked at at once.
	Concurrency int
	// InsecureHosts are the hosts, with * for any part of a name, that may be fetched from over plain HTTP; all by default, as in Flux.
	InsecureHosts []string
	// SubmoduleHosts are hosts, likewise, from which submodules may come, without credentials, beside the host of their repository.
	SubmoduleHosts []string
	// ObjectIdentities lets GitRepositories name a service account with whose identity Azure or AWS is asked; it is the feature gate
	// ObjectLevelWorkloadIdentity of Flux.
	ObjectIdentities bool
	// ArtifactAddr is the listen address on which artifacts are served over HTTP; empty for none.
	ArtifactAddr string
	// ArtifactURL is how others reach ArtifactAddr; status.artifact.url begins with it. Empty for the address listened on.
	ArtifactURL string
}

// Default returns the settings for a pod.
func Default() Config {
	return Config{
		DataDir:       filepath.Join(os.TempDir(), "sluice-git-watcher"),
		Concurrency:   8,
		InsecureHosts: []string{"*"},
		ArtifactAddr:  ":9090",
		ArtifactURL:   "http://git-watcher.sluice-system.svc.cluster.local.:9090",
	}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for mirrors of repositories; a cache")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "repositories looked at at once")
	f.StringSliceVar(&c.InsecureHosts, "insecure-hosts", c.InsecureHosts, "hosts that may be fetched from over plain HTTP; * for any part of a name, empty for none")
	f.StringSliceVar(&c.SubmoduleHosts, "submodule-hosts", c.SubmoduleHosts, "hosts from which submodules may come, without credentials, beside the host of their repository; * for any part of a name")
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let GitRepositories name a service account with whose identity a cloud is asked for credentials")
	f.StringVar(&c.ArtifactAddr, "artifact-addr", c.ArtifactAddr, "listen address for artifacts over HTTP; empty for none")
	f.StringVar(&c.ArtifactURL, "artifact-url", c.ArtifactURL, "base URL under which others reach --artifact-addr")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	if c.DataDir == "" {
		return fmt.Errorf("--data-dir is empty")
	}
	if c.Concurrency < 1 {
		return fmt.Errorf("--concurrency %d: want at least 1", c.Concurrency)
	}
	for _, pattern := range append(slices.Clone(c.InsecureHosts), c.SubmoduleHosts...) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("--insecure-hosts, --submodule-hosts: %q is no pattern", pattern)
		}
	}
	if u, err := url.Parse(c.ArtifactURL); c.ArtifactURL != "" && (err != nil || u.Scheme == "" || u.Host == "") {
		return fmt.Errorf("--artifact-url %q: want a URL", c.ArtifactURL)
	}
	return nil
}
