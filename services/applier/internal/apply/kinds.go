package apply

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// resource is how a kind is served.
type resource struct {
	gvr        schema.GroupVersionResource
	namespaced bool
}

// kinds knows how the API server serves each kind. It asks when a kind is not known, and keeps
// what it learned for as long as that serves.
type kinds struct {
	client discovery.ServerResourcesInterface

	// refreshing is held while the server is asked, so that it is asked once at a time.
	refreshing sync.Mutex
	// mu guards what follows.
	mu     sync.RWMutex
	known  map[schema.GroupVersionKind]resource
	served map[schema.GroupKind]string // the version to prefer
	failed map[string]error            // groups that could not be asked for
	asked  time.Time
	err    error // of the last time the server was asked
}

// find returns how gvk is served. If it is not known, the server is asked, unless it was asked
// since the given time. Without a version, any will do. The error is an *unknownKind if the server
// does not serve the kind.
func (k *kinds) find(gvk schema.GroupVersionKind, since time.Time) (resource, error) {
	if res, err := k.lookup(gvk); err == nil {
		return res, nil
	}
	if err := k.refresh(since); err != nil {
		return resource{}, fmt.Errorf("ask which kinds are served: %w", err)
	}
	return k.lookup(gvk)
}

func (k *kinds) lookup(gvk schema.GroupVersionKind) (resource, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if gvk.Version == "" {
		gvk.Version = k.served[gvk.GroupKind()]
	}
	if res, ok := k.known[gvk]; ok {
		return res, nil
	}
	if err := k.failed[gvk.Group]; err != nil {
		return resource{}, fmt.Errorf("ask which kinds of %s are served: %w", gvk.Group, err)
	}
	return resource{}, &unknownKind{gvk}
}

func (k *kinds) refresh(since time.Time) error {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	k.mu.RLock()
	fresh, err := k.asked.After(since), k.err
	k.mu.RUnlock()
	if fresh {
		return err
	}
	return k.ask()
}

func (k *kinds) ask() error {
	asked := time.Now()
	groups, lists, err := k.client.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asked, k.err = asked, err
		return err
	}
	failed := map[string]error{}
	if partial != nil {
		for gv, err := range partial.Groups {
			failed[gv.Group] = err
		}
	}
	known, served := readKinds(groups, lists)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.served, k.failed, k.asked, k.err = known, served, failed, asked, nil
	return nil
}

// drop forgets how a kind is served, after it turned out that it is not.
func (k *kinds) drop(gvk schema.GroupVersionKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, gvk)
}

func readKinds(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) (map[schema.GroupVersionKind]resource, map[schema.GroupKind]string) {
	preferred := map[string]string{}
	for _, g := range groups {
		preferred[g.Name] = g.PreferredVersion.Version
	}
	known, served := map[schema.GroupVersionKind]resource{}, map[schema.GroupKind]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // Nothing can be served under such a name.
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") {
				continue // A subresource.
			}
			gvk := gv.WithKind(r.Kind)
			known[gvk] = resource{gvr: gv.WithResource(r.Name), namespaced: r.Namespaced}
			if served[gvk.GroupKind()] == "" || preferred[gv.Group] == gv.Version {
				served[gvk.GroupKind()] = gv.Version
			}
		}
	}
	return known, served
}

// unknownKind says that the server does not serve a kind.
type unknownKind struct{ gvk schema.GroupVersionKind }

func (e *unknownKind) Error() string {
	return fmt.Sprintf("the API server serves no kind %q of %q", e.gvk.Kind, e.gvk.GroupVersion())
}
