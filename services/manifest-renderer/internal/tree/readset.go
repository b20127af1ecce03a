package tree

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
)

// What a read-set knows of a path. The order matters: of two answers about one
// path the greater says more.
const (
	isAbsent  = '-' // there is no such file or directory
	isFile    = 'x' // a file, whose content was not read
	isDir     = 'd' // a directory, whose names were not listed
	wasRead   = 'f' // a file; the digest of its content follows
	wasListed = 'l' // a directory; the digest of its names follows
)

// readSetVersion changes whenever facts are written differently; a read-set of
// another version never reads as unchanged.
const readSetVersion = 1

// ReadSet is what one render asked of a Tree, and the answers. It is small:
// about 30 bytes and a path for each question. The zero ReadSet knows nothing,
// and counts as changed.
type ReadSet struct {
	facts map[string]string // path to kind and digest
}

// Len returns the number of paths in s.
func (s ReadSet) Len() int { return len(s.facts) }

// Unchanged reports whether t gives the recorded answer to every recorded
// question. It reads no more than the digests of the paths in s.
func (s ReadSet) Unchanged(t *Tree) bool {
	_, changed := s.Changed(t)
	return !changed
}

// Changed returns a path for which t answers differently, and whether there is
// one. For the zero ReadSet that is the root.
func (s ReadSet) Changed(t *Tree) (path string, changed bool) {
	if s.facts == nil {
		return ".", true
	}
	for path, fact := range s.facts {
		if t.answer(path, fact[0]) != fact {
			return path, true
		}
	}
	return "", false
}

// answer is the fact about path that a question of the given kind leads to.
func (t *Tree) answer(path string, kind byte) string {
	if f := t.files[path]; f != nil {
		if kind == wasRead {
			return f.wasRead()
		}
		return string(isFile)
	}
	if d := t.dirs[path]; d != nil {
		if kind == wasListed {
			return d.wasListed()
		}
		return string(isDir)
	}
	return string(isAbsent)
}

type readSetJSON struct {
	Version int               `json:"v"`
	Facts   map[string]string `json:"r"`
}

// MarshalJSON writes s compactly and deterministically.
func (s ReadSet) MarshalJSON() ([]byte, error) {
	return json.Marshal(readSetJSON{Version: readSetVersion, Facts: s.facts})
}

// UnmarshalJSON reads what MarshalJSON wrote. A read-set of another version
// becomes the zero ReadSet, so that its render is done again.
func (s *ReadSet) UnmarshalJSON(b []byte) error {
	var in readSetJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("read-set: %w", err)
	}
	s.facts = nil
	if in.Version != readSetVersion {
		return nil
	}
	for path, fact := range in.Facts {
		if fact == "" {
			return fmt.Errorf("read-set: no fact for %q", path)
		}
	}
	s.facts = in.Facts
	return nil
}

func (f *file) wasRead() string {
	return lazily(&f.fact, func() string { return string(wasRead) + digest(f.data) })
}

func (d *dir) wasListed() string {
	// No name holds a zero byte, so joining them is unambiguous.
	return lazily(&d.fact, func() string { return string(wasListed) + digest([]byte(strings.Join(d.names, "\x00"))) })
}

// lazily returns the fact in p, made on first use. Two at once may both make it; they store the same. All read-sets share the text.
func lazily(p *atomic.Pointer[string], make func() string) string {
	if fact := p.Load(); fact != nil {
		return *fact
	}
	fact := make()
	p.Store(&fact)
	return fact
}

// digest is half a SHA-256. Whoever could find two contents with the same 128
// bits would only hide their own change from their own render.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
