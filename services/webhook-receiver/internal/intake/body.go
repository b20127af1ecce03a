package intake

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
)

const (
	// firstRoom is the room, in bytes, that a body gets whose length nobody said; it doubles as bytes come.
	firstRoom = 4 << 10
	// mostRoom is the most that is believed of what a caller says of the length.
	mostRoom = 64 << 10
)

// errNoRoom says that the bodies of calls under way take all the memory that they may.
var errNoRoom = errors.New("no room for more bodies")

// bodies bounds the memory of all bodies that are being read or worked on: most of them prove nothing yet. Room is taken as bytes come, so
// who says much and sends little takes little; and no source has more than half.
type bodies struct {
	mu   sync.Mutex
	free int64
	half int64
	by   map[netip.Addr]int64
}

func newBodies(room int64) *bodies {
	return &bodies{free: room, half: room / 2, by: map[netip.Addr]int64{}}
}

func (b *bodies) take(from netip.Addr, room int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free < room || b.by[from]+room > b.half {
		return errNoRoom
	}
	b.free -= room
	b.by[from] += room
	return nil
}

func (b *bodies) give(from netip.Addr, room int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += room
	if b.by[from] -= room; b.by[from] == 0 {
		delete(b.by, from)
	}
}

// body is one that is being read.
type body struct {
	all  *bodies
	from netip.Addr
	data []byte
}

// read reads a body that may have some bytes. Where it is not wanted it is read as far, and not kept. What was read is let go by release.
func (b *body) read(w http.ResponseWriter, r *http.Request, most int64, wanted bool) error {
	if r.ContentLength > most {
		return &http.MaxBytesError{Limit: most}
	}
	limited := http.MaxBytesReader(w, r.Body, most)
	if !wanted {
		_, err := io.Copy(io.Discard, limited)
		return err
	}
	room := int64(firstRoom)
	if r.ContentLength >= 0 {
		room = min(r.ContentLength, mostRoom) + 1 // one more, in which to see the end
	}
	for {
		if len(b.data) == cap(b.data) {
			if err := b.grow(room); err != nil {
				return err
			}
			if room *= 2; room >= most {
				room = most + 1
			}
		}
		n, err := limited.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// grow makes room for some bytes in all.
func (b *body) grow(room int64) error {
	if err := b.all.take(b.from, room); err != nil {
		return err
	}
	before := int64(cap(b.data))
	b.data = append(make([]byte, 0, room), b.data...)
	b.all.give(b.from, before)
	return nil
}

// release lets go of the memory.
func (b *body) release() {
	b.all.give(b.from, int64(cap(b.data)))
	b.data = nil
}
