package door

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Doors are all addresses that may be called. It is for concurrent use.
type Doors struct {
	mu sync.RWMutex
	// byPath is found by a digest of the path: how long that takes tells nothing of the paths that there are. Two Receivers may have one path:
	// its digest does not tell name from namespace.
	byPath  map[[sha256.Size]byte][]*Door
	byOwner map[types.NamespacedName][][sha256.Size]byte
}

// NewDoors makes Doors without any.
func NewDoors() *Doors {
	return &Doors{byPath: map[[sha256.Size]byte][]*Door{}, byOwner: map[types.NamespacedName][][sha256.Size]byte{}}
}

// Find returns the doors of a path; none for a path that nobody was given.
func (d *Doors) Find(path string) []*Door {
	key := sha256.Sum256([]byte(path))
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.byPath[key]
}

// Set puts the doors of an owner, by path, in place of those that it had. The owner is a Receiver, or the zero name for the installation.
func (d *Doors) Set(owner types.NamespacedName, doors map[string]*Door) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range d.byOwner[owner] {
		left := slices.DeleteFunc(slices.Clone(d.byPath[key]), func(at *Door) bool { return at.Receiver == owner })
		if d.byPath[key] = left; len(left) == 0 {
			delete(d.byPath, key)
		}
	}
	delete(d.byOwner, owner)
	for path, door := range doors {
		key := sha256.Sum256([]byte(path))
		at := append(slices.Clone(d.byPath[key]), door)
		slices.SortFunc(at, func(a, b *Door) int { return cmp.Compare(a.Receiver.String(), b.Receiver.String()) })
		d.byPath[key] = at
		d.byOwner[owner] = append(d.byOwner[owner], key)
	}
}
