package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the hash that git uses
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The types of objects in packs.
const (
	packedCommit   = 1
	packedBlob     = 3
	packedNothing  = 5
	packedOffDelta = 6
	packedRefDelta = 7
)

// packOf puts objects together as a server of bad intent would: the count is what it says.
func packOf(count uint32, objects ...[]byte) []byte {
	pack := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	for _, o := range objects {
		pack = append(pack, o...)
	}
	sum := sha1.Sum(pack) //nolint:gosec // see above
	return append(pack, sum[:]...)
}

// packed is an object that says it has size bytes. Between its header and its content is what a delta stands on.
func packed(kind byte, size uint64, base, content []byte) []byte {
	first := kind<<4 | byte(size&0x0f)
	var o []byte
	if size >>= 4; size > 0 {
		o = binary.AppendUvarint([]byte{first | 0x80}, size)
	} else {
		o = []byte{first}
	}
	var deflated bytes.Buffer
	w := zlib.NewWriter(&deflated)
	_, _ = w.Write(content)
	_ = w.Close()
	return append(append(o, base...), deflated.Bytes()...)
}

func blob(text string) []byte { return packed(packedBlob, uint64(len(text)), nil, []byte(text)) }

// delta stands on a base of size bytes and makes target bytes of the instructions.
func delta(size, target uint64, instructions ...byte) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, size), target), instructions...)
}

func raw(hash string) []byte {
	b, _ := hex.DecodeString(hash)
	return b
}

var hostileLimits = Limits{UnpackedBytes: 1 << 20, ObjectBytes: 1 << 20, Objects: 10_000}

// install puts a pack into a new mirror and says how that ended and what it left behind.
func install(ctx context.Context, t testing.TB, pack []byte) (left []string, err error) {
	t.Helper()
	m := newMirror(t.TempDir(), hostileLimits.orDefault(), newContentCache(1))
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	err = m.install(ctx, bytes.NewReader(pack))
	left, globErr := filepath.Glob(filepath.Join(m.dir, packDir, "*"))
	if globErr != nil {
		t.Fatal(globErr)
	}
	return left, err
}

func TestHostilePacks(t *testing.T) {
	self := strings.Repeat("ab", 20)
	insert := func(size uint64) []byte { return delta(size, 1, 1, 'x') }
	for name, test := range map[string]struct {
		pack []byte
		says string
	}{
		"nothing":                      {nil, "empty packfile"},
		"no pack":                      {[]byte("<html>not found</html>"), ""},
		"another version":              {append([]byte("PACK\x00\x00\x00\x09"), make([]byte, 24)...), ""},
		"fewer objects than it says":   {packOf(2, blob("a")), ""},
		"more objects than it says":    {packOf(1, blob("a"), blob("b")), ""},
		"too many objects, as it says": {packOf(1<<32-1, blob("a")), "number of objects"},
		"no checksum":                  {packOf(1, blob("a"))[:20], ""},
		"wrong checksum":               {append(packOf(1, blob("a"))[:21], make([]byte, 20)...), ""},
		"cut off within an object":     {packOf(1, blob(strings.Repeat("abc", 100)))[:18], ""},
		"no compressed data":           {packOf(1, []byte{packedBlob<<4 | 5, 'h', 'e', 'l', 'l', 'o'}), ""},
		"a type that is none":          {packOf(1, packed(packedNothing, 1, nil, []byte("a"))), ""},
		"more content than it says":    {packOf(1, packed(packedBlob, 3, nil, make([]byte, 4<<20))), ""},
		"less content than it says":    {packOf(1, packed(packedBlob, 1000, nil, []byte("a"))), ""},
		"too large, as it says":        {packOf(1, packed(packedBlob, 1<<40, nil, []byte("a"))), "over the limit"},
		"a length without end":         {packOf(1, append([]byte{packedBlob<<4 | 0x8f}, bytes.Repeat([]byte{0xff}, 30)...)), ""},
		"delta before the start":       {packOf(2, blob("a"), packed(packedOffDelta, 4, []byte{0x7f}, insert(1))), ""},
		"delta on itself":              {packOf(1, packed(packedOffDelta, 4, []byte{0}, insert(1))), ""},
		"delta into an object":         {packOf(2, blob("aaaa"), packed(packedOffDelta, 4, []byte{3}, insert(4))), ""},
		"delta on what is not there":   {packOf(1, packed(packedRefDelta, 4, raw(self), insert(1))), ""},
		"deltas on one another": {packOf(2, packed(packedRefDelta, 4, raw(self), insert(1)),
			packed(packedRefDelta, 4, raw(strings.Repeat("cd", 20)), insert(1))), ""},
		"delta copies past its base":    {packOf(2, blob("a"), ofTheFirst("a", delta(1, 200, 0x91, 5, 200))), ""},
		"delta of another base":         {packOf(2, blob("a"), ofTheFirst("a", delta(9, 1, 1, 'x'))), ""},
		"delta makes more than it says": {packOf(2, blob("a"), ofTheFirst("a", delta(1, 1, 0x90, 1, 0x90, 1, 0x90, 1))), ""},
		"delta makes less than it says": {packOf(2, blob("a"), ofTheFirst("a", delta(1, 100, 1, 'x'))), ""},
		"delta makes too much":          {packOf(2, blob("a"), ofTheFirst("a", delta(1, 1<<40, 1, 'x'))), "over the limit"},
		"delta of no known instruction": {packOf(2, blob("a"), ofTheFirst("a", delta(1, 1, 0))), ""},
		"empty delta":                   {packOf(2, blob("a"), ofTheFirst("a", nil)), ""},
		"a chain of deltas":             {chain(4200), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			left, err := install(t.Context(), t, test.pack)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error that says %q", err, test.says)
			}
			t.Log(err)
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 && name != "a chain of deltas" { // which is long, not large
				t.Errorf("it took %d MiB of memory", took>>20)
			}
		})
	}
}

// ofTheFirst is a delta on a blob that comes right before it.
func ofTheFirst(text string, content []byte) []byte {
	return packed(packedOffDelta, uint64(len(content)), []byte{byte(len(blob(text)))}, content)
}

// chain has n deltas, each on the one before.
func chain(n int) []byte {
	objects := [][]byte{blob("a")}
	for range n {
		last := byte(len(objects[len(objects)-1]))
		objects = append(objects, packed(packedOffDelta, 4, []byte{last}, delta(1, 1, 1, 'x')))
	}
	return packOf(uint32(len(objects)), objects...)
}

// Whatever a pack holds, it is taken in or refused, and what was refused leaves nothing behind.
func FuzzPack(f *testing.F) {
	f.Add([]byte{packedBlob<<4 | 1, 'x'}, uint32(1))
	f.Add(blob("text"), uint32(1))
	f.Add(append(blob("a"), ofTheFirst("a", delta(1, 1, 1, 'x'))...), uint32(2))
	f.Add(packed(packedRefDelta, 4, raw(strings.Repeat("ab", 20)), delta(1, 1, 1, 'x')), uint32(1))
	f.Add(chain(3)[12:60], uint32(4))
	f.Fuzz(func(t *testing.T, objects []byte, count uint32) {
		left, err := install(t.Context(), t, packOf(count, objects))
		if err != nil && len(left) > 0 || err == nil && len(left) != 2 {
			t.Fatalf("left %v, %v", left, err)
		}
	})
}

// An index that says of each of two objects where the other one is: the content is held against the name, so that what a signature covers is what is used.
func TestAmbiguousObjects(t *testing.T) {
	m := newMirror(t.TempDir(), hostileLimits.orDefault(), newContentCache(1))
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	good, evil := "tree "+strings.Repeat("ab", 20)+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\ngood\n", "evil"
	commit := packed(packedCommit, uint64(len(good)), nil, []byte(good))
	if err := m.install(t.Context(), bytes.NewReader(packOf(2, commit, blob(evil)))); err != nil {
		t.Fatal(err)
	}
	swapIndex(t, m, hashOf(1, []byte(good)), hashOf(3, []byte(evil)))
	o := m.objects()
	defer o.close()
	_, content, err := o.readAny(t.Context(), hashOf(1, []byte(good)), 1<<20)
	wantError(t, err, errDamaged, "another content")
	if len(content) > 0 {
		t.Errorf("read %q", content)
	}
}

// swapIndex makes the index of the pack say of each of two objects where the other one is.
func swapIndex(t *testing.T, m *mirror, a, b string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.dir, packDir, "*.idx"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		index, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Magic and version, 256 counts, then hashes, checksums and offsets: the last are exchanged.
		n := int(binary.BigEndian.Uint32(index[8+255*4:]))
		at := func(hash string) int {
			for i := range n {
				if bytes.Equal(index[8+1024+20*i:][:20], raw(hash)) {
					return 8 + 1024 + 24*n + 4*i
				}
			}
			t.Fatalf("%s is not in the index", hash)
			return 0
		}
		first, second := index[at(a):][:4], index[at(b):][:4]
		saved := bytes.Clone(first)
		copy(first, second)
		copy(second, saved)
		sum := sha1.Sum(index[:len(index)-20]) //nolint:gosec // see above
		copy(index[len(index)-20:], sum[:])
		if err := os.WriteFile(path, index, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that never stops sending is hung up on at the limit, and its context ends it before.
func TestEndlessPack(t *testing.T) {
	commit := strings.Repeat("ab", 20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
		if r.Method == http.MethodGet {
			answer("000eversion 2\n0000")(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if bytes.Contains(body.Bytes(), []byte("command=ls-refs")) {
			fmt.Fprint(w, line(commit+" refs/heads/main\n")+"0000")
			return
		}
		fmt.Fprint(w, line("packfile\n"))
		for noise := line("\x01" + strings.Repeat("x", 1000)); r.Context().Err() == nil; {
			if _, err := fmt.Fprint(w, noise); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	w := &world{T: t, dir: t.TempDir()}
	w.mirrors = w.open(Limits{PackBytes: 1 << 20})
	wantError(t, w.try(server.URL+"/x", nil), ErrTooLarge)
	left, err := filepath.Glob(filepath.Join(w.dir, "*", packDir, "*"))
	if w.do(err); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
