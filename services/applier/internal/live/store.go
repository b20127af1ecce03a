package live

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The labels by which objects say who applies them.
const (
	labelOwnerName      = "kustomize.toolkit.fluxcd.io/name"
	labelOwnerNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

// observed is what a watch keeps of one object.
type observed struct {
	owner   types.NamespacedName
	version uint64
	state   any // an ownState or a health; comparable
}

// store is what one watch knows. A reflector fills it and reads nothing from it, so objects are dropped once they are boiled down.
type store struct {
	// boil makes of an object what is kept of it.
	boil func(obj any) (any, error)
	// eager tells of every event: somebody may wait for the first one after an apply, also if it brings nothing new.
	eager bool
	// changed is told of owners of which an object came, went, or is another than before.
	changed func(owner types.NamespacedName)
	// always, if set, is told of every event.
	always func()
	// filled is told when the watch has begun again with all objects.
	filled func()

	mu      sync.Mutex
	objects map[types.NamespacedName]observed
	// version is that of the latest event, also of events about nothing.
	version uint64
	synced  bool
	// away says that the cluster could not be asked last: what is known may be long past.
	away bool
}

// answered notes whether the cluster answered to a list or the begin of a watch.
func (s *store) answered(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err != nil
}

func (s *store) reduce(obj any) (types.NamespacedName, observed, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return types.NamespacedName{}, observed{}, err
	}
	state, err := s.boil(obj)
	if err != nil {
		return types.NamespacedName{}, observed{}, err
	}
	return types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}, observed{ownerOf(m), version(m.GetResourceVersion()), state}, nil
}

func ownerOf(m metav1.Object) types.NamespacedName {
	l := m.GetLabels()
	return types.NamespacedName{Namespace: l[labelOwnerNamespace], Name: l[labelOwnerName]}
}

// Add takes a new object.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update takes an object as it is now.
func (s *store) Update(obj any) error {
	key, now, err := s.reduce(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	was, known := s.objects[key]
	if was.owner == now.owner {
		now.owner = was.owner // keeps one copy of the name
	}
	s.objects[key] = now
	s.version = max(s.version, now.version)
	s.mu.Unlock()
	if !known || was.owner != now.owner || was.state != now.state || s.eager {
		s.tell(was.owner, now.owner)
	}
	return nil
}

// Delete takes that an object is gone, or does not match any more.
func (s *store) Delete(obj any) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	key := types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}
	s.mu.Lock()
	was := s.objects[key]
	delete(s.objects, key)
	s.version = max(s.version, version(m.GetResourceVersion()))
	s.mu.Unlock()
	s.tell(was.owner, types.NamespacedName{})
	return nil
}

// Replace takes all objects as they are now.
func (s *store) Replace(list []any, resourceVersion string) error {
	objects := make(map[types.NamespacedName]observed, len(list))
	owners := map[types.NamespacedName]types.NamespacedName{}
	for _, obj := range list {
		key, now, err := s.reduce(obj)
		if err != nil {
			return err
		}
		if shared, ok := owners[now.owner]; ok {
			now.owner = shared
		} else {
			owners[now.owner] = now.owner
		}
		objects[key] = now
	}
	s.mu.Lock()
	s.objects, s.version, s.synced = objects, max(s.version, version(resourceVersion)), true
	s.mu.Unlock()
	s.filled()
	return nil
}

// Resync does nothing.
func (s *store) Resync() error { return nil }

// UpdateResourceVersion takes how far the watch is.
func (s *store) UpdateResourceVersion(resourceVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = max(s.version, version(resourceVersion))
}

// Bookmark takes how far the watch is.
func (s *store) Bookmark(resourceVersion string) error {
	s.UpdateResourceVersion(resourceVersion)
	return nil
}

func (s *store) tell(owners ...types.NamespacedName) {
	if s.always != nil {
		s.always()
	}
	for i, owner := range owners {
		if owner.Name != "" && (i == 0 || owner != owners[i-1]) {
			s.changed(owner)
		}
	}
}

// get returns what is known of an object, and whether the watch goes on and has seen everything up to a version.
func (s *store) get(key types.NamespacedName, upTo uint64) (o observed, found, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, found = s.objects[key]
	known := s.synced && !s.away
	if found {
		return o, true, known && o.version >= upTo
	}
	return o, false, known && s.version >= upTo
}
