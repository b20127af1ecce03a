package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// onlyMetadata asks for the metadata of an object in place of the object. Servers that cannot do that
// may send the object.
const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// client sends the few requests that applying and pruning need. It never retries and never waits
// when the server asks for patience: that is for the caller's queue to do.
type client struct {
	rest    *rest.RESTClient
	manager string
}

// target is where an object lives in the API.
type target struct {
	resource
	namespace, name string
}

// answer is what the server said about an object.
type answer struct {
	code int
	meta metav1.PartialObjectMetadata
	// raw is the body; it holds the whole object where that was asked for.
	raw []byte
}

func newClient(cfg *rest.Config, h *http.Client, manager string) (*client, error) {
	cfg = metadata.ConfigFor(cfg)
	cfg.AcceptContentTypes, cfg.ContentType = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	cfg.GroupVersion, cfg.APIPath = &schema.GroupVersion{}, "/unused"
	rc, err := rest.RESTClientForConfigAndClient(cfg, h)
	if err != nil {
		return nil, err
	}
	return &client{rest: rc, manager: manager}, nil
}

// path returns the segments of a target's URL. Each was checked to be one segment.
func (t target) path() []string {
	path := []string{"apis", t.gvr.Group, t.gvr.Version}
	if t.gvr.Group == "" {
		path = []string{"api", t.gvr.Version}
	}
	if t.namespaced {
		path = append(path, "namespaces", t.namespace)
	}
	return append(path, t.gvr.Resource, t.name)
}

// get reads an object's metadata as it is now. Reading it from the API server's watch cache would be
// cheaper, but that is a little behind: it would hide a pause, or the end of one.
func (c *client) get(ctx context.Context, t target) (*answer, error) {
	return do(ctx, c.rest.Get().AbsPath(t.path()...).SetHeader("Accept", onlyMetadata))
}

// getWhole reads an object.
func (c *client) getWhole(ctx context.Context, t target) (*answer, error) {
	return do(ctx, c.rest.Get().AbsPath(t.path()...))
}

// apply sends an object by server-side apply. Other managers' claims to its fields are overruled.
func (c *client) apply(ctx context.Context, t target, body []byte, whole bool) (*answer, error) {
	req := c.rest.Patch(types.ApplyPatchType).AbsPath(t.path()...).
		Param("fieldManager", c.manager).Param("force", "true").Body(body)
	if !whole {
		req.SetHeader("Accept", onlyMetadata)
	}
	return do(ctx, req)
}

// patch sends a JSON patch.
func (c *client) patch(ctx context.Context, t target, body []byte) (*answer, error) {
	return do(ctx, c.rest.Patch(types.JSONPatchType).AbsPath(t.path()...).
		Param("fieldManager", c.manager).SetHeader("Accept", onlyMetadata).Body(body))
}

// tryCreate asks whether an object would be accepted as a new one. Nothing is stored.
func (c *client) tryCreate(ctx context.Context, t target, body []byte) error {
	path := t.path()
	_, err := do(ctx, c.rest.Post().AbsPath(path[:len(path)-1]...).
		Param("fieldManager", c.manager).Param("dryRun", "All").SetHeader("Accept", onlyMetadata).Body(body))
	return err
}

// delete removes the object that has this uid, and lets its dependants be collected later.
func (c *client) delete(ctx context.Context, t target, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	body, err := json.Marshal(&metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"},
		PropagationPolicy: &background,
		Preconditions:     &metav1.Preconditions{UID: &uid},
	})
	if err != nil {
		return err
	}
	return c.rest.Delete().AbsPath(t.path()...).Body(body).MaxRetries(0).Do(ctx).Error()
}

func do(ctx context.Context, req *rest.Request) (*answer, error) {
	var a answer
	result := req.MaxRetries(0).Do(ctx).StatusCode(&a.code)
	if err := result.Error(); err != nil {
		return nil, err
	}
	raw, err := result.Raw()
	if err != nil {
		return nil, err
	}
	a.raw = raw
	if err := json.Unmarshal(raw, &a.meta); err != nil {
		return nil, fmt.Errorf("read the API server's answer: %w", err)
	}
	return &a, nil
}
