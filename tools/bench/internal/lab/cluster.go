package lab

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/deploy/crds"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// installCRDs installs the custom resource definitions and returns when they are served.
func (s *Site) installCRDs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	all, err := crds.All()
	if err != nil {
		return err
	}
	for _, crd := range all {
		if err := s.Client.Create(ctx, crd); err != nil {
			return fmt.Errorf("install %s: %w", crd.Name, err)
		}
	}
	for _, crd := range all {
		if err := s.awaitEstablished(ctx, crd); err != nil {
			return fmt.Errorf("install %s: %w", crd.Name, err)
		}
	}
	return s.awaitCreates(ctx)
}

// awaitCreates returns when custom resources are created without delay: for two seconds after a definition is established the API server
// holds each create of its kind, for the sake of other API servers that may not know it yet. That would be measured as Sluice's time.
func (s *Site) awaitCreates(ctx context.Context) error {
	for _, probe := range s.options.Probes {
		probe.SetNamespace(metav1.NamespaceDefault)
		err := s.tryCreate(ctx, probe)
		for err != nil && (meta.IsNoMatchError(err) || apierrors.IsNotFound(err)) && ctx.Err() == nil { // discovery lags
			err = s.tryCreate(ctx, probe)
		}
		if err != nil {
			return fmt.Errorf("create a %T for trial: %w", probe, err)
		}
	}
	return nil
}

func (s *Site) tryCreate(ctx context.Context, probe client.Object) error {
	return s.Client.Create(ctx, probe.DeepCopyObject().(client.Object), client.DryRunAll)
}

func (s *Site) awaitEstablished(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// FloorNamespace is where the objects of an application are applied by bare workers.
func FloorNamespace(i int) string { return fmt.Sprintf("floor-%04d", i) }

func (l *Lab) makeNamespaces(ctx context.Context) error {
	names := []string{workload.FleetNamespace}
	for i := range l.Options.Apps {
		names = append(names, workload.AppName(i), FloorNamespace(i))
	}
	return l.MakeNamespaces(ctx, names...)
}

// MakeNamespaces makes namespaces, many at once.
func (s *Site) MakeNamespaces(ctx context.Context, names ...string) error {
	objects := make([]client.Object, len(names))
	for i, name := range names {
		objects[i] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	return s.Create(ctx, objects...)
}

// Create creates objects, many at once.
func (s *Site) Create(ctx context.Context, objects ...client.Object) error {
	return Each(workers, objects, func(o client.Object) error {
		if err := s.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
		return nil
	})
}

// Delete deletes objects, many at once, and returns when they are gone.
func (s *Site) Delete(ctx context.Context, objects ...client.Object) error {
	return Each(workers, objects, func(o client.Object) error {
		if err := s.Client.Delete(ctx, o); err != nil {
			return fmt.Errorf("delete %s: %w", o.GetName(), err)
		}
		return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	})
}

// workers is how many requests the benchmark has under way when it makes many objects.
const workers = 16

// Each calls do for all, so many at once, and returns an error when one fails.
func Each[T any](workers int, all []T, do func(T) error) error {
	queue := make(chan T, len(all))
	for _, one := range all {
		queue <- one
	}
	close(queue)
	failed := make(chan error, workers)
	var wg sync.WaitGroup
	for range min(workers, len(all)) {
		wg.Go(func() {
			for one := range queue {
				if err := do(one); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}
