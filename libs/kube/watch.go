package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/stage"
)

// Waker takes the wake-ups that changes of objects cause; a stage is one.
type Waker interface {
	Trigger(ctx context.Context, key types.NamespacedName, hint stage.Hint)
}

// Handled says which generation and which request for a run an object's status answers.
type Handled func(obj client.Object) (generation int64, requestedAt string)

// Watch keeps objects of a kind in the cache and wakes the stage when one needs it: it is new and its status does not answer
// its spec, its spec or an annotation of ours changed, a run is requested, or it is deleted. Every replica does so on its own
// sight of the change: that is what makes a replica whose cache lags act again when it catches up.
func (c *Cluster) Watch(ctx context.Context, kind client.Object, handled Handled, w Waker) error {
	informer, err := c.Cache.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if obj, ok := o.(client.Object); ok && needsRun(obj, handled) {
				wake(ctx, w, obj, "created")
			}
		},
		UpdateFunc: func(before, after any) {
			was, ok1 := before.(client.Object)
			is, ok2 := after.(client.Object)
			if !ok1 || !ok2 {
				return
			}
			if cause := changed(was, is); cause != "" {
				wake(ctx, w, is, cause)
			}
		},
		DeleteFunc: func(o any) {
			if tomb, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			if obj, ok := o.(client.Object); ok {
				wake(ctx, w, obj, "deleted")
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	return nil
}

func wake(ctx context.Context, w Waker, obj client.Object, cause string) {
	w.Trigger(ctx, client.ObjectKeyFromObject(obj), stage.Hint{Cause: cause, Generation: obj.GetGeneration()})
}

func needsRun(obj client.Object, handled Handled) bool {
	generation, requestedAt := handled(obj)
	return obj.GetDeletionTimestamp() != nil || generation != obj.GetGeneration() || RequestedAt(obj) != requestedAt
}

// changed names what about an object makes a run due; empty for nothing, such as a status that was written.
func changed(was, is client.Object) string {
	switch {
	case was.GetUID() != is.GetUID():
		return "created"
	case (was.GetDeletionTimestamp() == nil) != (is.GetDeletionTimestamp() == nil):
		return "deleted"
	case was.GetGeneration() != is.GetGeneration():
		return "changed"
	case RequestedAt(was) != RequestedAt(is):
		return "requested"
	case annotationsOfOurs(was) != annotationsOfOurs(is):
		return "changed"
	}
	return ""
}

// RequestedAt is the value of the annotation that asks for a run now.
func RequestedAt(obj client.Object) string {
	return obj.GetAnnotations()[meta.ReconcileRequestAnnotation]
}

// AnnotationPrefix is that of the annotations by which Sluice's own settings are made.
const AnnotationPrefix = "sluice.dev/"

func annotationsOfOurs(obj client.Object) string {
	var ours []string
	for k, v := range obj.GetAnnotations() {
		if strings.HasPrefix(k, AnnotationPrefix) {
			ours = append(ours, k+"="+v)
		}
	}
	// At most a handful; order them so that equal sets compare equal.
	slices.Sort(ours)
	return strings.Join(ours, "\x00")
}
