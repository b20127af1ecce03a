package intake

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// slowly hides the length of a body.
type slowly struct{ io.Reader }

// Bodies take as much room as has come of them, from a source no more than half of all, and give all of it back.
func TestBodies(t *testing.T) {
	const most = 512 << 10
	all := newBodies(2 << 20)
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	read := func(from netip.Addr, content io.Reader) (*body, error) {
		b := &body{all: all, from: from}
		r := httptest.NewRequest(http.MethodPost, "/", content)
		return b, b.read(httptest.NewRecorder(), r, most, true)
	}
	var held []*body
	for _, size := range []int{0, 1, firstRoom, 300 << 10, most} {
		content := bytes.Repeat([]byte("x"), size)
		for _, reader := range []io.Reader{bytes.NewReader(content), slowly{bytes.NewReader(content)}} {
			b, err := read(one, reader)
			if err != nil || !bytes.Equal(b.data, content) {
				t.Fatalf("%d bytes: read %d, %v", size, len(b.data), err)
			}
			b.release()
		}
	}
	var large *http.MaxBytesError
	if b, err := read(one, slowly{bytes.NewReader(make([]byte, most+1))}); !errors.As(err, &large) {
		t.Errorf("one byte too many: %v", err)
	} else {
		b.release()
	}
	for {
		b, err := read(one, bytes.NewReader(make([]byte, 200<<10)))
		held = append(held, b)
		if errors.Is(err, errNoRoom) {
			break
		}
		if err != nil || len(held) > 100 {
			t.Fatalf("%d bodies, %v", len(held), err)
		}
	}
	b, err := read(two, bytes.NewReader(make([]byte, 200<<10)))
	if err != nil {
		t.Errorf("one source leaves no room for another: %v", err)
	}
	for _, b := range append(held, b) {
		b.release()
	}
	if all.free != 2<<20 || len(all.by) != 0 {
		t.Errorf("%d bytes are free after all, %d sources are remembered", all.free, len(all.by))
	}
}
