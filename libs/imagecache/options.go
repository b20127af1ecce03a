package imagecache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/spf13/pflag"
)

// Options say where Redis is and how to open it. Secrets come from files.
type Options struct {
	Addrs   []string // host:port; of the sentinels where Master is set
	Master  string   // name of the master that sentinels watch; empty without them
	Cluster bool     // Addrs are nodes of a cluster

	User                 string // ACL user; empty for the default one
	PasswordFile         string // read at each connect, so that it may be changed
	SentinelUser         string
	SentinelPasswordFile string
	DB                   int // not with Cluster

	TLS               bool // also on where one of the files below is set
	CAFile            string
	CertFile, KeyFile string

	// CacheKeyFile holds at least KeySize random bytes, the same for all who share the cache: values are authenticated with it.
	CacheKeyFile string
}

// AddFlags defines a flag for each setting.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Addrs, "redis-addr", []string{"127.0.0.1:6379"}, "addresses of Redis, or of its sentinels where --redis-master is set")
	f.StringVar(&o.Master, "redis-master", "", "name of the master that the sentinels watch")
	f.BoolVar(&o.Cluster, "redis-cluster", false, "the addresses are nodes of a Redis Cluster")
	f.StringVar(&o.User, "redis-user", "", "user to authenticate as; empty for the default one")
	f.StringVar(&o.PasswordFile, "redis-password-file", "", "file with the password")
	f.StringVar(&o.SentinelUser, "redis-sentinel-user", "", "user to authenticate as at the sentinels")
	f.StringVar(&o.SentinelPasswordFile, "redis-sentinel-password-file", "", "file with the password for the sentinels")
	f.IntVar(&o.DB, "redis-db", 0, "number of the database")
	f.BoolVar(&o.TLS, "redis-tls", false, "connect by TLS")
	f.StringVar(&o.CAFile, "redis-ca-file", "", "certificate authority of Redis; implies --redis-tls")
	f.StringVar(&o.CertFile, "redis-cert-file", "", "client certificate for Redis; implies --redis-tls")
	f.StringVar(&o.KeyFile, "redis-key-file", "", "key of --redis-cert-file")
	f.StringVar(&o.CacheKeyFile, "cache-key-file", "", "file with 32 random bytes or more, by which what is in Redis is authenticated; the same for all services that share it")
}

// Validate says what is wrong with the settings, by flag.
func (o *Options) Validate() error {
	switch {
	case len(o.Addrs) == 0:
		return errors.New("--redis-addr is empty")
	case o.CacheKeyFile == "":
		return errors.New("--cache-key-file is empty")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("--redis-cert-file and --redis-key-file go together")
	case o.Cluster && o.Master != "":
		return errors.New("--redis-cluster and --redis-master exclude each other")
	case o.Cluster && o.DB != 0:
		return errors.New("--redis-cluster has no --redis-db")
	}
	return nil
}

// patience with Redis: whoever waits for it holds up work that could wait elsewhere.
const patience = 2 * time.Second

func (o *Options) client() (redis.UniversalClient, error) {
	options := &redis.UniversalOptions{
		Addrs: o.Addrs, MasterName: o.Master, IsClusterMode: o.Cluster, DB: o.DB, SentinelUsername: o.SentinelUser,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
		ContextTimeoutEnabled: true, MaxRetries: 1, DialerRetries: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.PasswordFile != "" {
		options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := readSecret(o.PasswordFile)
			return o.User, password, err
		}
		if _, err := readSecret(o.PasswordFile); err != nil {
			return nil, err
		}
	}
	var err error
	if o.SentinelPasswordFile != "" {
		if options.SentinelPassword, err = readSecret(o.SentinelPasswordFile); err != nil {
			return nil, err
		}
	}
	if options.TLSConfig, err = o.tls(); err != nil {
		return nil, err
	}
	redis.SetLogger(silence{}) // the errors that it would print are returned, too
	return redis.NewUniversalClient(options), nil
}

// silence is a logger of the Redis client that says nothing.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read password of Redis: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func (o *Options) tls() (*tls.Config, error) {
	if !o.TLS && o.CAFile == "" && o.CertFile == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate authority of Redis: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authority of Redis: %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate for Redis: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
