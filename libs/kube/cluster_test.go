package kube

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestConnectWithoutServer: a service that starts while the API server is away waits for it, so connecting must not need it.
func TestConnectWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := api.NewConfig()
	config.Clusters["gone"] = &api.Cluster{Server: "http://" + address}
	config.Contexts["gone"] = &api.Context{Cluster: "gone"}
	config.CurrentContext = "gone"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(Options{Kubeconfig: file, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
}
