// Package remote reads kubeconfigs that others wrote, to apply in their clusters. Nothing in one may run a program here or read a file
// of this machine.
package remote

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// maxSize bounds a kubeconfig in bytes.
const maxSize = 1 << 20

// Pick returns the kubeconfig in a Secret's data: under the key, or without one under value or value.yaml.
func Pick(data map[string][]byte, key string) ([]byte, error) {
	keys := []string{key}
	if key == "" {
		keys = []string{"value", "value.yaml"}
	}
	for _, k := range keys {
		if content, ok := data[k]; ok {
			return content, nil
		}
	}
	return nil, fmt.Errorf("it has no key %q", keys[0])
}

// Config makes a client's configuration of a kubeconfig's current context. Errors quote nothing of it.
func Config(kubeconfig []byte) (*rest.Config, error) {
	if len(kubeconfig) > maxSize {
		return nil, errors.New("the kubeconfig is too large")
	}
	parsed, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, errors.New("the kubeconfig cannot be read")
	}
	cluster, user, err := current(parsed)
	if err != nil {
		return nil, err
	}
	if err := check(cluster, user); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*parsed, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, errors.New("the kubeconfig names no usable cluster and user")
	}
	return config, nil
}

// current returns what the current context names.
func current(c *clientcmdapi.Config) (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	at := c.Contexts[c.CurrentContext]
	if at == nil {
		return nil, nil, errors.New("the kubeconfig has no current context")
	}
	cluster, user := c.Clusters[at.Cluster], c.AuthInfos[at.AuthInfo]
	if cluster == nil || user == nil {
		return nil, nil, errors.New("the current context of the kubeconfig names no cluster or user that it has")
	}
	if cluster.Server == "" {
		return nil, nil, errors.New("the kubeconfig's cluster has no server")
	}
	return cluster, user, nil
}

// check refuses what would reach into this machine, or trust anybody.
func check(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
	for _, refused := range []struct {
		used bool
		what string
	}{
		{user.Exec != nil, "an exec plugin"},
		{user.AuthProvider != nil, "an auth provider"},
		{user.ClientCertificate != "", "a client certificate by path"},
		{user.ClientKey != "", "a client key by path"},
		{user.TokenFile != "", "a token by path"},
		{cluster.CertificateAuthority != "", "a certificate authority by path"},
		{cluster.InsecureSkipTLSVerify, "insecure-skip-tls-verify"},
	} {
		if refused.used {
			return fmt.Errorf("the kubeconfig has %s, which is not allowed: it must hold all that is needed in itself", refused.what)
		}
	}
	return nil
}
