package live

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/health"
)

// watch is one watch under way.
type watch struct {
	store     *store
	reflector *cache.Reflector
	stop      context.CancelFunc
}

func (w *watch) run(ctx context.Context) { w.reflector.RunWithContext(ctx) }

// ownState is what is kept of an object to see drift.
type ownState struct {
	own  hash
	time uint32
	// claimed objects have fields of other tools that apply. That is no drift, but the next regular visit takes them over.
	claimed bool
}

func (w *Watcher) newWatch(s scope, mapping *meta.RESTMapping, stop context.CancelFunc) *watch {
	st := &store{objects: map[types.NamespacedName]observed{}, filled: func() { w.filled(s) }, changed: w.Suspect, eager: s.health}
	var lw *cache.ListWatch
	var expected any
	switch {
	case !s.health:
		st.boil, expected = w.boilMetadata(mapping), &metav1.PartialObjectMetadata{}
		lw = w.listMetadata(mapping)
	default:
		st.boil, expected = w.boilHealth(s), &unstructured.Unstructured{}
		lw = w.listObjects(s, mapping)
		if s.single.Name != "" {
			st.changed = func(types.NamespacedName) {}
			st.always = func() { w.Suspect(s.owner) }
		}
	}
	options := cache.ReflectorOptions{Name: "live", TypeDescription: fmt.Sprintf("%s health=%t", s.kind, s.health)}
	return &watch{store: st, stop: stop, reflector: cache.NewReflectorWithOptions(noting(st, lw), expected, st, options)}
}

// noting has a store know whether the cluster answers.
func noting(st *store, lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, o)
			st.answered(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			w, err := lw.WatchFuncWithContext(ctx, o)
			st.answered(err)
			return w, err
		},
	}
}

// labelled narrows a list or watch to what Kustomizations apply.
func labelled(o metav1.ListOptions) metav1.ListOptions {
	o.LabelSelector = labelOwnerName
	return o
}

func (w *Watcher) listMetadata(mapping *meta.RESTMapping) *cache.ListWatch {
	resource := w.metadata.Resource(mapping.Resource)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, labelled(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return resource.Watch(ctx, labelled(o))
		},
	}
}

func (w *Watcher) listObjects(s scope, mapping *meta.RESTMapping) *cache.ListWatch {
	resource := w.dynamic.Resource(mapping.Resource).Namespace(s.single.Namespace)
	narrow := labelled
	if s.single.Name != "" {
		narrow = func(o metav1.ListOptions) metav1.ListOptions {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.single.Name).String()
			return o
		}
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, narrow(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return resource.Watch(ctx, narrow(o))
		},
	}
}

func (w *Watcher) boilMetadata(mapping *meta.RESTMapping) func(any) (any, error) {
	kind := mapping.GroupVersionKind.GroupKind()
	return func(obj any) (any, error) {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return nil, fmt.Errorf("watch of metadata got %T", obj)
		}
		own, at := apply.Own(m, kind, w.options.Manager, w.interest(ownerOf(m)).Ignore)
		return ownState{shortHash(own), seconds(at), apply.IsClaimed(m, w.options.Manager)}, nil
	}
}

func (w *Watcher) boilHealth(s scope) func(any) (any, error) {
	return func(obj any) (any, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("watch of objects got %T", obj)
		}
		owner := s.owner
		if owner.Name == "" {
			owner = ownerOf(u)
		}
		return health.Of(u, w.interest(owner).Exprs), nil
	}
}
