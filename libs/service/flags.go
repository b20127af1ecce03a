package service

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/logs"
)

// Config is what every service can be told. Secrets come from files.
type Config struct {
	Bus                  bus.Options
	Kubeconfig           string
	WatchLabelSelector   string
	NoCrossNamespaceRefs bool
	MetricsAddr          string // listen address of metrics and probes; empty for none
	Pprof                bool   // serve profiles there too
	Logs                 logs.Config
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Bus.URL, "nats-url", "nats://127.0.0.1:4222", "address of the NATS servers, separated by commas")
	f.StringVar(&c.Bus.NKeySeedFile, "nats-nkey-seed-file", "", "file with the NKey seed to authenticate with")
	f.StringVar(&c.Bus.CredsFile, "nats-creds-file", "", "credentials file (JWT and NKey) to authenticate with")
	f.StringVar(&c.Bus.User, "nats-user", "", "user to authenticate as, with --nats-password-file")
	f.StringVar(&c.Bus.PasswordFile, "nats-password-file", "", "file with the password of --nats-user")
	f.StringVar(&c.Bus.CAFile, "nats-ca-file", "", "certificate authority of the NATS servers")
	f.StringVar(&c.Bus.CertFile, "nats-cert-file", "", "client certificate for the NATS servers")
	f.StringVar(&c.Bus.KeyFile, "nats-key-file", "", "key of --nats-cert-file")
	f.IntVar(&c.Bus.Topology.Replicas, "nats-replicas", 1, "copies of each stream")
	f.DurationVar(&c.Bus.Topology.FactsMaxAge, "facts-max-age", 0, "how long facts are kept (default 168h)")
	f.StringVar(&c.Kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file; empty for the pod's service account")
	f.StringVar(&c.WatchLabelSelector, "watch-label-selector", "", "serve only custom resources with these labels")
	f.BoolVar(&c.NoCrossNamespaceRefs, "no-cross-namespace-refs", false, "forbid references between namespaces")
	f.StringVar(&c.MetricsAddr, "metrics-addr", ":8080", "listen address of /metrics, /healthz and /readyz; empty for none")
	f.BoolVar(&c.Pprof, "pprof", false, "serve profiles of this process under /debug/pprof/ at --metrics-addr")
	c.AddLogFlags(f)
}

// AddLogFlags defines the flags of logs alone.
func (c *Config) AddLogFlags(f *pflag.FlagSet) { c.Logs.AddFlags(f) }

// Validate says what is wrong with the settings, by flag.
func (c *Config) Validate() error {
	if c.Bus.User != "" && c.Bus.PasswordFile == "" {
		return fmt.Errorf("--nats-user needs --nats-password-file")
	}
	if (c.Bus.CertFile == "") != (c.Bus.KeyFile == "") {
		return fmt.Errorf("--nats-cert-file and --nats-key-file go together")
	}
	if n := c.Bus.Topology.Replicas; n < 1 || n > 5 {
		return fmt.Errorf("--nats-replicas %d: want 1 to 5", n)
	}
	_, err := c.Logger()
	return err
}

// Logger makes the logger that the settings ask for, to standard error.
func (c *Config) Logger() (*slog.Logger, error) { return c.Logs.Logger() }
