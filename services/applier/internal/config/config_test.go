package config

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for flag, change := range map[string]func(*Config){
		"":                                     func(*Config) {},
		"--seal-key-file":                      func(c *Config) { c.SealKeyFile = "" },
		"--requests":                           func(c *Config) { c.Requests = 0 },
		"--watched-clusters":                   func(c *Config) { c.WatchedClusters = 0 },
		"--prune-guard-share":                  func(c *Config) { c.PruneGuardShare = 2 },
		"--object-level-workload-identity":     func(c *Config) { c.DefaultKubeConfigServiceAccount = "deployer" },
		"--default-kubeconfig-service-account": func(c *Config) { c.DefaultKubeConfigServiceAccount = "deployer" },
	} {
		c := Default()
		c.SealKeyFile = "key"
		change(&c)
		err := c.Validate()
		if flag == "" && err != nil || flag != "" && (err == nil || !strings.Contains(err.Error(), flag)) {
			t.Errorf("%q: %v", flag, err)
		}
	}
}
