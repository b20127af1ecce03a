package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestRunServesUntilTheInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	dir := filepath.Join(t.TempDir(), "cluster")
	reader, writer := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := command(ctx, []string{"run", "--dir", dir}, writer)
		writer.CloseWithError(errors.New("the command ended"))
		result <- err
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err, <-result)
	}
	path := strings.TrimSpace(line)
	if want := filepath.Join(dir, "kubeconfig"); path != want {
		t.Errorf("printed %q, want %q", path, want)
	}
	if err := listNamespaces(t, path); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	interrupt()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := listNamespaces(t, path); err == nil {
		t.Error("the API server answers after the interrupt")
	}
}

func listNamespaces(t *testing.T, kubeconfig string) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	return err
}

func TestUnknownArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"serve"}, {"build", "now"}, {"run", "now"}} {
		if err := command(t.Context(), args, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("command %v: %v, want the usage", args, err)
		}
	}
	if err := command(t.Context(), []string{"run", "--no-such-flag"}, io.Discard); err == nil {
		t.Error("an unknown flag is taken")
	}
}
