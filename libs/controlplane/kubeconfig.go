package controlplane

import (
	"crypto/rand"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	tokenFile      = "tokens.csv"
	kubeconfigFile = "kubeconfig"
	clusterName    = "sluice-test"
	adminName      = "admin"
)

// writeToken makes an administrator for the API server and returns its token.
func writeToken(path string) (string, error) {
	token := rand.Text()
	line := fmt.Sprintf("%s,%s,%s,%q\n", token, adminName, adminName, "system:masters")
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		return "", fmt.Errorf("write the administrator's token: %w", err)
	}
	return token, nil
}

// writeKubeconfig writes a file that only its owner can read.
func writeKubeconfig(path, server, token string, authority []byte) error {
	config := api.NewConfig()
	config.Clusters[clusterName] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[adminName] = &api.AuthInfo{Token: token}
	config.Contexts[clusterName] = &api.Context{Cluster: clusterName, AuthInfo: adminName}
	config.CurrentContext = clusterName
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write the kubeconfig file: %w", err)
	}
	return nil
}

// loadConfig reads a kubeconfig file. It lifts client-go's limit of five
// requests a second, since who measures or fills a cluster wants none.
func loadConfig(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig file %s: %w", path, err)
	}
	config.QPS = -1
	return config, nil
}
