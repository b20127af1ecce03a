package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

const (
	// maxObjects bounds how many objects one call wakes.
	maxObjects = 5000
	// lookTime bounds how long it may take to find them.
	lookTime = 5 * time.Second
	// filterTime bounds how long the expressions of one entry may take over all its objects.
	filterTime = time.Second
)

// errFilter says that an expression could not be evaluated over what the call says.
var errFilter = errors.New("a filter cannot be evaluated")

// Objects finds the objects that a call wakes.
type Objects struct {
	Cluster *kube.Cluster
	Log     *slog.Logger
}

// call is what expressions know of a call.
type call struct {
	body   []byte
	claims map[string]any
}

// variables are the names of expressions, but for res.
func (c call) variables(oidc bool) (map[string]any, error) {
	req := map[string]any{}
	if len(c.body) > 0 {
		if err := json.Unmarshal(c.body, &req); err != nil {
			return nil, fmt.Errorf("%w: the body is no JSON object", errFilter)
		}
	}
	vars := map[string]any{"req": req}
	if oidc {
		vars["claims"] = c.claims
	}
	return vars, nil
}

// Find returns the objects that a call behind a door wakes. With errFilter it still returns those that are sure.
func (o *Objects) Find(ctx context.Context, d *door.Door, c call) ([]*hintsv1.ObjectName, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var found []*hintsv1.ObjectName
	var vars map[string]any
	var failed error
	for _, r := range d.Resources() {
		if r.Filtered() && vars == nil {
			var err error
			if vars, err = c.variables(c.claims != nil); err != nil {
				return nil, err
			}
		}
		named, err := o.find(ctx, &r, vars)
		found = append(found, named...)
		if errors.Is(err, errFilter) {
			failed = err
		} else if err != nil {
			return nil, err
		}
		if len(found) > maxObjects {
			o.Log.Warn("a call wakes more objects than may be, the others wait for their interval", "receiver", d.Receiver.String(), "objects", len(found))
			return found[:maxObjects], failed
		}
	}
	return found, failed
}

// find returns the objects of one entry.
func (o *Objects) find(ctx context.Context, r *door.Resource, vars map[string]any) ([]*hintsv1.ObjectName, error) {
	if r.Name != "*" && !r.Filtered() {
		return []*hintsv1.ObjectName{nameOf(r, r.Name)}, nil // whoever serves it finds out whether it is there
	}
	candidates, err := o.candidates(ctx, r)
	if err != nil {
		return nil, err
	}
	var found []*hintsv1.ObjectName
	var failed error
	ctx, cancel := context.WithTimeout(ctx, filterTime)
	defer cancel()
	for i := range candidates {
		takes, err := o.takes(ctx, r, &candidates[i], vars)
		if err != nil {
			failed = fmt.Errorf("%w: %s %s: %w", errFilter, r.Kind, client.ObjectKeyFromObject(&candidates[i]), err)
		}
		if ctx.Err() != nil {
			return found, fmt.Errorf("%w: %s: it takes too long", errFilter, r.Kind)
		}
		if takes {
			found = append(found, nameOf(r, candidates[i].Name))
		}
	}
	return found, failed
}

func nameOf(r *door.Resource, name string) *hintsv1.ObjectName {
	return &hintsv1.ObjectName{ApiVersion: r.APIVersion, Kind: r.Kind, Namespace: r.Namespace, Name: name}
}

// candidates reads the metadata of the objects that an entry means.
func (o *Objects) candidates(ctx context.Context, r *door.Resource) ([]metav1.PartialObjectMetadata, error) {
	gvk, served, err := r.GVK()
	if err != nil {
		return nil, fmt.Errorf("read apiVersion: %w", err)
	}
	reader := o.reader(served)
	if r.Name != "*" {
		obj := metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(gvk)
		err := reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, &obj)
		if isMissing(err) {
			return nil, nil
		}
		return []metav1.PartialObjectMetadata{obj}, err
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(r.Kind + "List"))
	err = reader.List(ctx, &list, client.InNamespace(r.Namespace), client.MatchingLabels(r.Labels), client.UnsafeDisableDeepCopy)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s in %s: %w", r.Kind, r.Namespace, err)
	}
	return list.Items, nil
}

// isMissing says whether there is no such object, or no such kind.
func isMissing(err error) bool { return apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) }

// reader is the cache for the kinds that it holds, and the API server for others.
func (o *Objects) reader(served bool) client.Reader {
	if !o.Cluster.Selective && served {
		return o.Cluster.Cache
	}
	return o.Cluster.Client
}

// takes says whether the expressions of an entry are true for an object.
func (o *Objects) takes(ctx context.Context, r *door.Resource, obj *metav1.PartialObjectMetadata, vars map[string]any) (bool, error) {
	if !r.Filtered() {
		return true, nil
	}
	res, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return false, err
	}
	res["apiVersion"], res["kind"] = r.APIVersion, r.Kind
	own := map[string]any{"res": res}
	for name, value := range vars {
		own[name] = value
	}
	return r.Takes(ctx, own)
}
