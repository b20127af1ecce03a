// Package servicetest runs services within tests as they run in their pods, against a real API server and a real bus.
package servicetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
)

// startTime is how long a service may take to be ready.
const startTime = 30 * time.Second

// Main is for a TestMain whose tests share a control plane with the custom resource definitions that match a pattern of files. It hands the
// control plane to use, runs the tests and returns the exit code.
func Main(m *testing.M, definitions string, use func(*controlplane.ControlPlane)) int {
	return controlplanetest.Run(m, controlplane.Options{}, func(c *controlplane.ControlPlane) {
		if err := Install(context.Background(), c, definitions); err != nil {
			panic(err)
		}
		use(c)
	})
}

// Install installs the custom resource definitions that match a pattern of files.
func Install(ctx context.Context, cp *controlplane.ControlPlane, definitions string) error {
	c, err := client.New(cp.RESTConfig(), client.Options{})
	if err != nil {
		return err
	}
	files, err := filepath.Glob(definitions)
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no definitions in %s: %w", definitions, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &definition.Object); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := client.IgnoreAlreadyExists(c.Create(ctx, definition)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// Label marks the objects that one test's services see, with the name of its namespace.
const Label = "test"

// Connect makes a namespace, unless it is there, and connects to the control plane with eyes for the objects that have Label alone.
func Connect(t testing.TB, cp *controlplane.ControlPlane, namespace string) *kube.Cluster {
	t.Helper()
	c, err := kube.Connect(kube.Options{Kubeconfig: cp.Kubeconfig(), UserAgent: "test", WatchLabelSelector: Label + "=" + namespace, Log: bustest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{Label: namespace}}}
	if err := client.IgnoreAlreadyExists(c.Client.Create(t.Context(), made)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Env is what a service stands on.
func Env(t testing.TB, b *bus.Conn, c *kube.Cluster, change ...func(*service.Deps)) *service.Env {
	d := service.Deps{Log: bustest.Logger(t), Registry: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Bus: b, Cluster: c}
	for _, f := range change {
		f(&d)
	}
	return service.NewEnv(d, service.Holder("test"))
}

// Background runs something to the test's end.
func Background(t testing.TB, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// Start runs a service to the test's end, and returns when it is ready.
func Start(t testing.TB, env *service.Env, run func(context.Context, *service.Env) error) {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	env.Ready = func() { close(ready) }
	Background(t, func(ctx context.Context) { ended <- run(ctx, env) })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal("the service ended:", err)
	case <-time.After(startTime):
		t.Fatal("the service is not ready")
	}
}
