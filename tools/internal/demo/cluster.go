package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	fieldManager = "sluice-demo"
	removeTime   = 30 * time.Second // for the objects of a given cluster to go
	removePoll   = 200 * time.Millisecond
)

// cluster writes the demo's custom resources.
type cluster struct {
	config *rest.Config
	client dynamic.Interface
}

func newCluster(config *rest.Config) (*cluster, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &cluster{config, client}, nil
}

// version is that of the API server.
func (c *cluster) version() (string, error) {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return "", fmt.Errorf("make a client: %w", err)
	}
	info, err := client.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	return info.GitVersion, nil
}

// resource is where objects of a custom resource of the demo are.
func (c *cluster) resource(u *unstructured.Unstructured) dynamic.ResourceInterface {
	resources := map[string]schema.GroupVersionResource{
		"GitRepository": gitRepositories, "Kustomization": kustomizations, "Namespace": namespaces,
		"ImageRepository": imageKind("imagerepositories"), "ImagePolicy": imageKind("imagepolicies"), "ImageUpdateAutomation": imageKind("imageupdateautomations"),
		"Secret": {Version: "v1", Resource: "secrets"}, "Provider": notificationKind("providers"), "Alert": notificationKind("alerts"),
	}
	all := c.client.Resource(resources[u.GetKind()])
	if u.GetNamespace() == "" {
		return all
	}
	return all.Namespace(u.GetNamespace())
}

// apply creates an object or makes it as it is given.
func (c *cluster) apply(ctx context.Context, u *unstructured.Unstructured) error {
	_, err := c.resource(u).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("apply %s: %w", refOf(u), err)
	}
	return nil
}

// setInterval says how often Sluice looks at the repository unasked.
func (c *cluster) setInterval(ctx context.Context, interval time.Duration) error {
	return c.patch(ctx, gitRepositories, source, map[string]any{"spec": map[string]any{"interval": interval.String()}})
}

func (c *cluster) patch(ctx context.Context, kind schema.GroupVersionResource, name string, change map[string]any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.client.Resource(kind).Namespace(namespace).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("patch %s %s: %w", kind.Resource, name, err)
	}
	return nil
}

// remove deletes the objects in reverse order, the applications first, so that Sluice prunes what is theirs. It returns when they
// and the applications' namespaces are gone.
func (c *cluster) remove(all []*unstructured.Unstructured, appNamespaces []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	var errs []error
	for _, u := range slices.Backward(all) {
		objects := c.resource(u)
		if err := objects.Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove %s: %w", refOf(u), err))
			continue
		}
		errs = append(errs, waitGone(ctx, objects, u.GetName()))
	}
	for _, name := range appNamespaces {
		errs = append(errs, waitGone(ctx, c.client.Resource(namespaces), name))
	}
	return errors.Join(errs...)
}

// waitGone returns when there is no such object.
func waitGone(ctx context.Context, objects dynamic.ResourceInterface, name string) error {
	for {
		_, err := objects.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for %s to be gone: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to be gone: %w", name, ctx.Err())
		case <-time.After(removePoll):
		}
	}
}
