// Package config holds the settings of image-updater.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
)

// Config is what image-updater can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	Redis imagecache.Options
	// Policies is how many policies are evaluated at once.
	Policies int
	// Updates is how many repositories are updated at once.
	Updates int
	// Quiet is how long an automation waits for more changes after one, MaxWait how long it waits at most after the first.
	Quiet, MaxWait time.Duration
	// VanishedHold is how long a chosen tag that is gone from its registry holds one that ranks above it.
	VanishedHold time.Duration

	// DataDir holds the mirrors of repositories. It is a cache: it may be empty, lost, or on an emptyDir.
	DataDir string
	// InsecureHosts are the git hosts, with * for any part of a name, that may be talked to over plain HTTP; all by default, as in Flux.
	InsecureHosts []string

	// Rate is how many requests each registry host gets from all replicas of all services together; they must all have the same.
	Rate imagecache.Rate
	// Images are rules for images that annotated workloads name; registry-scanner has its own for ImageRepositories.
	Images imageaccess.Rules
	// TokenHosts are token services that get the credential of any registry that names them.
	TokenHosts []string
	// ObjectIdentities lets ImageRepositories name a service account with whose identity a cloud is asked.
	ObjectIdentities bool
}

// Default returns the settings for a pod.
func Default() Config {
	return Config{
		Policies: 16, Updates: 4, Quiet: time.Second, MaxWait: 10 * time.Second, VanishedHold: 5 * time.Minute,
		DataDir: filepath.Join(os.TempDir(), "sluice-image-updater"), InsecureHosts: []string{"*"},
		Rate: imagecache.Rate{PerSecond: 20, Burst: 20}, Images: imageaccess.DefaultRules(), TokenHosts: []string{"sso.redhat.com"},
	}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	c.Redis.AddFlags(f)
	f.IntVar(&c.Policies, "concurrent-policies", c.Policies, "policies evaluated at once")
	f.IntVar(&c.Updates, "concurrent-updates", c.Updates, "repositories updated at once")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for mirrors of repositories; a cache")
	f.StringSliceVar(&c.InsecureHosts, "insecure-git-hosts", c.InsecureHosts, "git hosts that may be talked to over plain HTTP; * for any part of a name, empty for none")
	c.AddUpdateFlags(f)
	f.Float64Var(&c.Rate.PerSecond, "registry-rps", c.Rate.PerSecond, "requests per second that each registry host gets, from all replicas of all services together; 0 for any number")
	f.IntVar(&c.Rate.Burst, "registry-burst", c.Rate.Burst, "requests that a registry host may get at once after a pause")
	c.Images.AddFlags(f)
	f.StringSliceVar(&c.TokenHosts, "registry-token-hosts", c.TokenHosts, "token services that get the login for any registry that names them, beside those on the registry's own domain; * for any part of a name")
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let ImageRepositories name a service account with whose identity a cloud is asked for credentials")
}

// AddUpdateFlags defines a flag for each setting about when commits are made alone.
func (c *Config) AddUpdateFlags(f *pflag.FlagSet) {
	f.DurationVar(&c.Quiet, "update-quiet", c.Quiet, "how long to wait for more changes after one before they are committed")
	f.DurationVar(&c.MaxWait, "update-max-wait", c.MaxWait, "how long changes wait at most for others")
	f.DurationVar(&c.VanishedHold, "vanished-hold", c.VanishedHold, "how long a chosen tag that is gone from its registry holds the update to one that ranks above it; 0 for not at all")
}

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	if err := c.Redis.Validate(); err != nil {
		return err
	}
	switch {
	case c.Policies < 1:
		return fmt.Errorf("--concurrent-policies %d: want at least 1", c.Policies)
	case c.Updates < 1:
		return fmt.Errorf("--concurrent-updates %d: want at least 1", c.Updates)
	case c.DataDir == "":
		return fmt.Errorf("--data-dir is empty")
	case c.Quiet < 0:
		return fmt.Errorf("--update-quiet %s: want 0 or more", c.Quiet)
	case c.MaxWait < c.Quiet:
		return fmt.Errorf("--update-max-wait %s: want at least --update-quiet", c.MaxWait)
	case c.VanishedHold < 0:
		return fmt.Errorf("--vanished-hold %s: want 0 or more", c.VanishedHold)
	case !(c.Rate.PerSecond >= 0):
		return fmt.Errorf("--registry-rps %v: want 0 or more", c.Rate.PerSecond)
	case c.Rate.Burst < 1:
		return fmt.Errorf("--registry-burst %d: want at least 1", c.Rate.Burst)
	}
	return c.Images.Validate()
}
