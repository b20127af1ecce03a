package lab

import (
	"context"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// watch follows the Kustomizations and the applications' ConfigMaps until ctx ends, and returns when it has begun.
func (l *Lab) watch(ctx context.Context) error {
	objects, err := cache.New(l.config, cache.Options{
		Scheme: kube.Scheme(), Mapper: l.Client.RESTMapper(), DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&kustomizev1.Kustomization{}: {Namespaces: map[string]cache.Config{workload.FleetNamespace: {}}},
			&corev1.ConfigMap{}:          {Field: fields.OneTermEqualSelector("metadata.name", workload.SettingsName)},
		},
	})
	if err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	if err := follow(ctx, objects, &kustomizev1.Kustomization{}, l.noteApp, l.forgetApp); err != nil {
		return err
	}
	if err := follow(ctx, objects, &corev1.ConfigMap{}, l.noteValue, func(*corev1.ConfigMap) {}); err != nil {
		return err
	}
	go func() {
		if err := objects.Start(ctx); err != nil {
			l.Say("watches ended: %v", err)
		}
	}()
	begin, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if !objects.WaitForCacheSync(begin) {
		return fmt.Errorf("begin to watch: %w", begin.Err())
	}
	return nil
}

func follow[T client.Object](ctx context.Context, objects cache.Cache, kind T, note, forget func(T)) error {
	informer, err := objects.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { note(o.(T)) },
		UpdateFunc: func(_, o any) { note(o.(T)) },
		DeleteFunc: func(o any) {
			if tomb, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			forget(o.(T))
		},
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	return nil
}

func (l *Lab) noteApp(k *kustomizev1.Kustomization)   { l.Apps.set(k.Name, k) }
func (l *Lab) forgetApp(k *kustomizev1.Kustomization) { l.Apps.remove(k.Name) }

func (l *Lab) noteValue(m *corev1.ConfigMap) {
	l.Values.set(m.Namespace, m.Data[workload.ValueKey])
}
