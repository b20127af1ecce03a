package live

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Memo is what the last apply of an application saw of each object. It goes over the bus, so it is small: 44 bytes an object, and
// digests of what may be secret are keyed. The zero value is empty and ready for use.
type Memo struct{ entries map[uint64]Entry }

// Entry is what an apply saw of one object.
type Entry struct {
	// Own is a hash of the fields that we own.
	Own hash
	// Digest is a keyed digest of what was sent.
	Digest hash
	// Version is the resourceVersion as a number, zero where it is none.
	Version uint64
	// Time is when our entry last changed, in seconds.
	Time uint32
}

type hash [12]byte

const entrySize = 8 + 12 + 12 + 8 + 4

// NewEntry makes the entry of an object that was applied. ok is false when nothing was seen of it.
func NewEntry(seen apply.Seen, key []byte) (e Entry, ok bool) {
	if seen.UID == "" || seen.OwnFields == "" {
		return Entry{}, false
	}
	return Entry{Own: shortHash(seen.OwnFields), Digest: Digest(seen.Digest, key), Version: version(seen.ResourceVersion), Time: seconds(seen.OwnTime)}, true
}

// Digest makes a keyed digest of an object's digest.
func Digest(digest string, key []byte) hash {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(digest))
	return hash(mac.Sum(nil)[:12])
}

func shortHash(text string) (h hash) {
	if raw, err := hex.DecodeString(text); err == nil {
		copy(h[:], raw)
	}
	return h
}

func version(text string) uint64 {
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(t.Unix())
}

func short(id inventory.ID) uint64 {
	sum := sha256.Sum256([]byte(id.String()))
	return binary.BigEndian.Uint64(sum[:])
}

// Put remembers an object.
func (m *Memo) Put(id inventory.ID, e Entry) {
	if m.entries == nil {
		m.entries = map[uint64]Entry{}
	}
	m.entries[short(id)] = e
}

// Drop forgets an object.
func (m *Memo) Drop(id inventory.ID) { delete(m.entries, short(id)) }

// Get returns what is remembered of an object.
func (m Memo) Get(id inventory.ID) (Entry, bool) {
	e, ok := m.entries[short(id)]
	return e, ok
}

// Len is the number of objects.
func (m Memo) Len() int { return len(m.entries) }

// MarshalJSON packs the memo into one text.
func (m Memo) MarshalJSON() ([]byte, error) {
	keys := make([]uint64, 0, len(m.entries))
	for k := range m.entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	packed := make([]byte, 0, len(keys)*entrySize)
	for _, k := range keys {
		e := m.entries[k]
		packed = binary.BigEndian.AppendUint64(packed, k)
		packed = append(append(packed, e.Own[:]...), e.Digest[:]...)
		packed = binary.BigEndian.AppendUint64(packed, e.Version)
		packed = binary.BigEndian.AppendUint32(packed, e.Time)
	}
	return json.Marshal(base64.RawStdEncoding.EncodeToString(packed))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Memo) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("read what was applied: %w", err)
	}
	packed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(packed)%entrySize != 0 {
		return fmt.Errorf("read what was applied: %d bytes are no entries", len(packed))
	}
	m.entries = make(map[uint64]Entry, len(packed)/entrySize)
	for ; len(packed) > 0; packed = packed[entrySize:] {
		e := Entry{Version: binary.BigEndian.Uint64(packed[32:]), Time: binary.BigEndian.Uint32(packed[40:])}
		copy(e.Own[:], packed[8:20])
		copy(e.Digest[:], packed[20:32])
		m.entries[binary.BigEndian.Uint64(packed)] = e
	}
	return nil
}
