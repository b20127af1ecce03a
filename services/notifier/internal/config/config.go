// Package config holds the settings of notifier.
package config

import (
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/pflag"
)

// Config is what notifier can be told beside what every service can. Zero fields are not useful; start from Default.
type Config struct {
	// Cluster is the name of the cluster, which messages and commit statuses then tell; empty for none.
	Cluster string
	// MaxAge is how long a message is tried before it becomes a dead letter.
	MaxAge time.Duration
	// GroupWait is how long a message about a commit waits for the commit to end.
	GroupWait time.Duration
	// Channels is how many Providers are told something at once.
	Channels int
	// AllowPrivate lets addresses of Providers lead into private networks. Link-local ones are refused always.
	AllowPrivate bool
	// AllowLocal lets them lead to this machine, too, where other containers of the pod may listen that trust whoever gets there.
	AllowLocal bool
	// ObjectIdentities lets Providers name a service account with whose identity a cloud is asked.
	ObjectIdentities bool
}

// Default returns the settings for a pod.
func Default() Config {
	return Config{MaxAge: 24 * time.Hour, GroupWait: 10 * time.Minute, Channels: 16, AllowPrivate: true}
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	c.AddNotifyFlags(f)
	f.IntVar(&c.Channels, "concurrent-channels", c.Channels, "Providers that are told something at once")
	f.BoolVar(&c.ObjectIdentities, "object-level-workload-identity", c.ObjectIdentities, "let Providers name a service account with whose identity a cloud is asked for tokens")
}

// AddNotifyFlags defines a flag for each setting about what is told.
func (c *Config) AddNotifyFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Cluster, "cluster-name", c.Cluster, "name of the cluster, told in messages and in the names of commit statuses; empty for none")
	f.DurationVar(&c.MaxAge, "notification-max-age", c.MaxAge, "how long a message is tried before it becomes a dead letter")
	f.DurationVar(&c.GroupWait, "notification-group-wait", c.GroupWait, "how long a message about a commit waits at most for everything that the commit touched")
	f.BoolVar(&c.AllowPrivate, "notification-private-addresses", c.AllowPrivate, "let addresses of Providers lead into private networks; link-local ones are refused always")
	f.BoolVar(&c.AllowLocal, "notification-local-addresses", c.AllowLocal, "let addresses of Providers lead to this machine, too")
}

// name is what a cluster may be called.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// maxMaxAge is less than how long the outbox keeps letters.
const maxMaxAge = 14 * 24 * time.Hour

// Validate says what is wrong, by flag.
func (c *Config) Validate() error {
	switch {
	case c.Cluster != "" && !name.MatchString(c.Cluster):
		return fmt.Errorf("--cluster-name %q: want up to 63 letters, digits, dots, dashes and underscores", c.Cluster)
	case c.MaxAge < time.Minute || c.MaxAge > maxMaxAge:
		return fmt.Errorf("--notification-max-age %s: want 1m to %s", c.MaxAge, maxMaxAge)
	case c.GroupWait < time.Second:
		return fmt.Errorf("--notification-group-wait %s: want at least 1s", c.GroupWait)
	case c.Channels < 1:
		return fmt.Errorf("--concurrent-channels %d: want at least 1", c.Channels)
	}
	return nil
}
