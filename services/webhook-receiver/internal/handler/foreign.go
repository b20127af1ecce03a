package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

// FollowerName is the name under which all replicas share the hints about objects that Sluice does not serve.
const FollowerName = "annotate"

// Foreign wakes objects that somebody else serves, as Flux does: by the annotation that asks for a run.
type Foreign struct {
	Cluster *kube.Cluster
	Log     *slog.Logger
}

// object names an object beyond doubt.
type object struct {
	gvk schema.GroupVersionKind
	key types.NamespacedName
}

const (
	// tries is how often an object is tried that the API server does not take, while it takes others.
	tries = 4
	// tryEvery is how long to wait between them.
	tryEvery = time.Second
)

// Use annotates the objects of hints that are not served here. It fails when the API server took nothing at all, so that all come again; a
// single object that it does not take keeps nobody else from being woken.
func (f *Foreign) Use(ctx context.Context, hints []*hintsv1.Hint) error {
	left, woken := objectsOf(hints), 0
	for try := 1; ; try++ {
		var failed []object
		var last error
		for _, o := range left {
			if err := f.wake(ctx, o); err != nil {
				failed, last = append(failed, o), err
				continue
			}
			woken++
		}
		switch {
		case len(failed) == 0:
			return nil
		case try == tries && woken == 0:
			return last
		case try == tries:
			f.Log.Warn("objects that calls are about cannot be woken", "objects", len(failed), "err", last)
			return nil
		}
		left = failed
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tryEvery):
		}
	}
}

// objectsOf are the objects that hints name, each once.
func objectsOf(hints []*hintsv1.Hint) []object {
	var list []object
	known := map[object]bool{}
	for _, h := range hints {
		for _, name := range h.GetObjects() {
			gv, err := schema.ParseGroupVersion(name.GetApiVersion())
			if err != nil {
				continue
			}
			o := object{gv.WithKind(name.GetKind()), types.NamespacedName{Namespace: name.GetNamespace(), Name: name.GetName()}}
			if !known[o] {
				known[o] = true
				list = append(list, o)
			}
		}
	}
	return list
}

// wake annotates an object. An error may pass by itself.
func (f *Foreign) wake(ctx context.Context, o object) error {
	here, err := f.isServedHere(ctx, o)
	if err != nil || here {
		return err
	}
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(o.gvk)
	obj.SetNamespace(o.key.Namespace)
	obj.SetName(o.key.Name)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().UTC().Format(time.RFC3339Nano))
	err = f.Cluster.Client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(kube.FieldManager))
	if err == nil {
		return nil
	}
	if isAway(err) {
		return fmt.Errorf("wake %s %s: %w", o.gvk.Kind, o.key, err)
	}
	f.Log.Warn("an object that a call is about cannot be woken", "kind", o.gvk.Kind, "object", o.key.String(), "err", err)
	return nil
}

// isAway says whether an error may pass by itself: anything but an answer that concerns the object.
func isAway(err error) bool {
	var answer apierrors.APIStatus
	if apimeta.IsNoMatchError(err) {
		return false
	}
	return !errors.As(err, &answer) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
}

// isServedHere says whether an object is one of ours: then the cache has it. One that Flux serves beside us, by its labels, is not.
func (f *Foreign) isServedHere(ctx context.Context, o object) (bool, error) {
	gvk, ours := door.Served[o.gvk.GroupKind()]
	if !ours {
		return false, nil
	}
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(gvk)
	err := f.Cluster.Cache.Get(ctx, o.key, obj)
	if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}
