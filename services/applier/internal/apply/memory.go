package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Seen is what is known of an object in the cluster from the last answer about it.
type Seen struct {
	UID             types.UID
	ResourceVersion string
	// Digest is the SHA-256 of what was last applied. For a Secret it is a digest of its values:
	// keep it in memory.
	Digest string
	// OwnFields is a hash of the fields that our field manager owns, empty if it owns none. It
	// changes when somebody takes a field from us or removes one, and not otherwise.
	OwnFields string
	// OwnTime is when our manager last changed something, to the second.
	OwnTime time.Time

	policy policy
	// foreign says that another tool which applies owns fields.
	foreign bool
	// restless says that others changed the object between our last two visits.
	restless bool
}

// see reads out of an object's metadata what the next visit will need.
func see(meta *metav1.PartialObjectMetadata, kind schema.GroupKind, manager string, ignore []IgnoreRule) Seen {
	s := Seen{
		UID:             meta.UID,
		ResourceVersion: meta.ResourceVersion,
		policy:          policyOf(meta.Labels, meta.Annotations),
	}
	s.OwnFields, s.OwnTime = Own(meta, kind, manager, ignore)
	s.foreign = IsClaimed(meta, manager)
	return s
}

// Own returns a hash of the fields of an object that a manager owns by applying, but for those that are left to others, and when it
// last changed one. Both are empty if it owns none.
func Own(meta *metav1.PartialObjectMetadata, kind schema.GroupKind, manager string, ignore []IgnoreRule) (fields string, at time.Time) {
	for _, entry := range meta.ManagedFields {
		if !isOwn(entry, manager) {
			continue
		}
		if entry.Time != nil {
			at = entry.Time.Time
		}
		version := entry.APIVersion[strings.LastIndex(entry.APIVersion, "/")+1:]
		return hashFields(entry, ignoredFields(ignore, meta, kind, version)), at
	}
	return "", time.Time{}
}

// IsClaimed reports whether another tool that applies owns fields of an object, so that the next visit takes them over.
func IsClaimed(meta *metav1.PartialObjectMetadata, manager string) bool {
	for _, entry := range meta.ManagedFields {
		if isForeign(entry, manager) {
			return true
		}
	}
	return false
}

// hashFields hashes an entry's version and fields. The API server writes the fields of an entry
// sorted and without spaces, so equal fields are equal bytes, but for characters that only some of
// its encoders escape.
func hashFields(entry metav1.ManagedFieldsEntry, ignored *fieldpath.Set) string {
	h := sha256.New()
	h.Write([]byte(entry.APIVersion + "\n"))
	if entry.FieldsV1 != nil {
		h.Write(unescape(without(entry.FieldsV1.GetRawBytes(), ignored)))
	}
	return hex.EncodeToString(h.Sum(nil))
}

var escapes = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\u2028`, "\u2028", `\u2029`, "\u2029")

func unescape(raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`\u`)) {
		return raw
	}
	return []byte(escapes.Replace(string(raw)))
}

// memory keeps what was seen of the objects visited last. It is bounded by having two generations:
// when the young one is full the old one is dropped, and what is used moves to the young one.
type memory struct {
	mu         sync.Mutex
	young, old map[inventory.ID]Seen
	half       int
}

func newMemory(size int) *memory {
	return &memory{young: map[inventory.ID]Seen{}, half: max(size/2, 1)}
}

func (m *memory) get(id inventory.ID) (Seen, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.young[id]; ok {
		return s, true
	}
	s, ok := m.old[id]
	if ok {
		m.putLocked(id, s)
	}
	return s, ok
}

func (m *memory) put(id inventory.ID, s Seen) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(id, s)
}

func (m *memory) putLocked(id inventory.ID, s Seen) {
	if _, ok := m.young[id]; !ok && len(m.young) >= m.half {
		m.young, m.old = map[inventory.ID]Seen{}, m.young
	}
	m.young[id] = s
}

func (m *memory) forget(id inventory.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, id)
	delete(m.old, id)
}
