package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/deploy/crds"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/libs/kube"
)

// World is what the tests of a package share.
type World struct {
	Plane  *controlplane.ControlPlane
	Client client.WithWatch // an administrator's, past any cache
	BinDir string           // sluice and the services
	Root   string           // of the repository

	logs string // parent of the folders of tests
}

// Main builds the programs, starts the API server, installs the custom resource definitions, hands the world to use and runs
// the tests. It returns the exit code, for a TestMain.
func Main(m *testing.M, use func(*World)) int {
	flag.Parse()
	w, err := newWorld()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return controlplanetest.Run(m, controlplane.Options{}, func(plane *controlplane.ControlPlane) {
		if err := w.connect(plane); err != nil {
			fmt.Fprintln(os.Stderr, err)
			_ = plane.Stop()
			os.Exit(1)
		}
		use(w)
	})
}

func newWorld() (*World, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	w := &World{Root: root, BinDir: filepath.Join(root, ".cache", "e2e", "bin"), logs: filepath.Join(root, ".cache", "e2e", "logs")}
	if err := os.MkdirAll(w.logs, 0o755); err != nil {
		return nil, fmt.Errorf("make folder for logs: %w", err)
	}
	if *programs != "" {
		w.BinDir, err = filepath.Abs(*programs)
		return w, err
	}
	return w, build(root, w.BinDir)
}

// connect makes the client and the custom resource definitions.
func (w *World) connect(plane *controlplane.ControlPlane) error {
	scheme := kube.Scheme()
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	c, err := client.NewWithWatch(plane.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	w.Plane, w.Client = plane, c
	return w.installCRDs()
}

func (w *World) installCRDs() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := crds.All()
	if err != nil {
		return err
	}
	for _, crd := range all {
		if err := w.Client.Create(ctx, crd); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("install %s: %w", crd.Name, err)
		}
	}
	for _, crd := range all {
		err := poll(ctx, func() error { return w.established(ctx, crd) })
		if err != nil {
			return fmt.Errorf("install %s: %w", crd.Name, err)
		}
	}
	return nil
}

func (w *World) established(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	if err := w.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
		return err
	}
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("not established")
}
