package handler

import (
	"context"
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
)

// FollowerName is the name under which all replicas share the hints about objects that Sluice does not serve.
const FollowerName = "annotate"

// Foreign wakes objects that somebody else serves, as Flux does: by the annotation that asks for a run.
type Foreign struct {
	Cluster *kube.Cluster
	Log     *slog.Logger
}

// ofOurs are the kinds whose objects stages wake, if they are served here.
var ofOurs = map[string]bool{"GitRepository": true, "Kustomization": true, "ImageRepository": true, "ImagePolicy": true, "ImageUpdateAutomation": true}

// object names an object beyond doubt.
type object struct {
	gvk schema.GroupVersionKind
	key types.NamespacedName
}

// Use annotates the objects of hints that are not served here.
func (f *Foreign) Use(ctx context.Context, hints []*hintsv1.Hint) error {
	done := map[object]bool{}
	for _, h := range hints {
		for _, name := range h.GetObjects() {
			gv, err := schema.ParseGroupVersion(name.GetApiVersion())
			if err != nil {
				continue
			}
			o := object{gv.WithKind(name.GetKind()), types.NamespacedName{Namespace: name.GetNamespace(), Name: name.GetName()}}
			if done[o] {
				continue
			}
			done[o] = true
			if err := f.wake(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

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
	switch {
	case apierrors.IsNotFound(err), apimeta.IsNoMatchError(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		f.Log.Warn("an object that a call is about cannot be woken", "kind", o.gvk.Kind, "object", o.key.String(), "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("wake %s %s: %w", o.gvk.Kind, o.key, err)
	}
	return nil
}

// isServedHere says whether an object is one of ours: then the cache has it. One that Flux serves beside us, by its labels, is not.
func (f *Foreign) isServedHere(ctx context.Context, o object) (bool, error) {
	if !ofOurs[o.gvk.Kind] {
		return false, nil
	}
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(o.gvk)
	err := f.Cluster.Cache.Get(ctx, o.key, obj)
	if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}
