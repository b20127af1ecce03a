package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackIsDeterministicAndSorted(t *testing.T) {
	a := []File{Bytes("b.yaml", false, []byte("b")), Bytes("a/run.sh", true, []byte("a")), Bytes("a.yaml", false, nil)}
	b := []File{a[2], a[0], a[1]}
	first, digest, err := PackBytes(a)
	if err != nil {
		t.Fatal(err)
	}
	second, again, err := PackBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) || digest != again || !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("two orders give two archives: %s, %s", digest, again)
	}
	type entry struct {
		Name string
		Mode int64
		Time int64
	}
	want := []entry{{"a.yaml", 0o600, 0}, {"a/run.sh", 0o700, 0}, {"b.yaml", 0o600, 0}}
	var got []entry
	for header := range entries(t, first) {
		got = append(got, entry{header.Name, header.Mode, header.ModTime.Unix()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func entries(t *testing.T, data []byte) func(func(*tar.Header) bool) {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	return func(yield func(*tar.Header) bool) {
		for {
			header, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !yield(header) {
				return
			}
		}
	}
}

func TestPackRefuses(t *testing.T) {
	broken := Bytes("a", false, []byte("long"))
	broken.Size = 2
	short := Bytes("a", false, []byte("x"))
	short.Size = 2
	failing := File{Path: "a", Open: func() (io.ReadCloser, error) { return nil, errors.New("gone") }}
	for name, files := range map[string][]File{
		"parent":         {Bytes("../a", false, nil)},
		"absolute":       {Bytes("/a", false, nil)},
		"empty":          {Bytes("", false, nil)},
		"not clean":      {Bytes("a//b", false, nil)},
		"NUL":            {Bytes("a\x00b", false, nil)},
		"backslash":      {Bytes(`a\b`, false, nil)},
		"twice":          {Bytes("a", false, nil), Bytes("a", false, nil)},
		"file and dir":   {Bytes("a", false, nil), Bytes("a-b", false, nil), Bytes("a/b", false, nil)},
		"size too small": {broken},
		"size too large": {short, Bytes("b", false, nil)},
		"open fails":     {failing},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Pack(io.Discard, files); err == nil {
				t.Fatal("packed")
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	long := strings.Repeat("directory/", 40) + "file"
	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(rand.IntN(256))
	}
	want := map[string][]byte{"a.yaml": []byte("a: 1\n"), "empty": nil, long: []byte("x"), "big": big, "ünïcode/日本": []byte("y")}
	var files []File
	for name, content := range want {
		files = append(files, Bytes(name, false, content))
	}
	data, _, err := PackBytes(files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unpack(t.Context(), bytes.NewReader(data), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	for name, content := range want {
		if !bytes.Equal(got[name], content) {
			t.Errorf("%q differs", name)
		}
	}
}

func tarball(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reg(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}
}

func TestUnpackRefuses(t *testing.T) {
	small := Limits{TotalBytes: 1000, FileBytes: 600, Files: 3, PathBytes: 20}
	for _, test := range []struct {
		name    string
		headers []*tar.Header
		want    error
	}{
		{"parent", []*tar.Header{reg("../a", 1)}, ErrInvalid},
		{"hidden parent", []*tar.Header{reg("a/../../b", 1)}, ErrInvalid},
		{"absolute", []*tar.Header{reg("/etc/passwd", 1)}, ErrInvalid},
		{"backslash", []*tar.Header{reg(`..\a`, 1)}, ErrInvalid},
		{"directory outside", []*tar.Header{{Typeflag: tar.TypeDir, Name: "../a/"}}, ErrInvalid},
		{"symlink", []*tar.Header{{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc/passwd"}}, ErrInvalid},
		{"hardlink", []*tar.Header{{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}}, ErrInvalid},
		{"device", []*tar.Header{{Typeflag: tar.TypeChar, Name: "a"}}, ErrInvalid},
		{"fifo", []*tar.Header{{Typeflag: tar.TypeFifo, Name: "a"}}, ErrInvalid},
		{"twice", []*tar.Header{reg("a", 1), reg("a", 1)}, ErrInvalid},
		{"twice by dot", []*tar.Header{reg("a", 1), reg("./a", 1)}, ErrInvalid},
		{"file and dir", []*tar.Header{reg("a/b", 1), reg("a", 1)}, ErrInvalid},
		{"one too large", []*tar.Header{reg("a", 601)}, ErrTooLarge},
		{"all too large", []*tar.Header{reg("a", 600), reg("b", 600)}, ErrTooLarge},
		{"too many", []*tar.Header{reg("a", 0), reg("b", 0), reg("c", 0), reg("d", 0)}, ErrTooLarge},
		{"long path", []*tar.Header{reg(strings.Repeat("a", 21), 0)}, ErrTooLarge},
		{"long path in an extended header", []*tar.Header{reg(strings.Repeat("a/", 500)+"b", 0)}, ErrTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Unpack(t.Context(), bytes.NewReader(tarball(t, test.headers...)), small)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestUnpackAcceptsDirectories(t *testing.T) {
	data := tarball(t, &tar.Header{Typeflag: tar.TypeDir, Name: "./"}, &tar.Header{Typeflag: tar.TypeDir, Name: "a/"}, reg("a/b", 2), reg("./c", 0))
	got, err := Unpack(t.Context(), bytes.NewReader(data), Limits{})
	if err != nil || len(got) != 2 || len(got["a/b"]) != 2 || got["c"] == nil && len(got["c"]) != 0 {
		t.Fatalf("got %v, %v", got, err)
	}
}

// A few kilobytes that unpack to gigabytes must be left off early.
func TestUnpackBomb(t *testing.T) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(reg("a", 1)); err != nil {
		t.Fatal(err)
	}
	_, _ = tw.Write([]byte("x"))
	_ = tw.Close()
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = zw.Write(zeros)
	}
	_ = zw.Close()
	_, err := Unpack(t.Context(), &b, Limits{TotalBytes: 1 << 20, Files: 10})
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
}

func TestUnpackDamaged(t *testing.T) {
	data := tarball(t, reg("a", 5000))
	for _, cut := range []int{0, 5, len(data) / 2, len(data) - 4} {
		if _, err := Unpack(t.Context(), bytes.NewReader(data[:cut]), Limits{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	data[len(data)-6] ^= 1 // the checksum
	if _, err := Unpack(t.Context(), bytes.NewReader(data), Limits{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("wrong checksum: %v", err)
	}
}

func TestUnpackStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Unpack(ctx, bytes.NewReader(tarball(t, reg("a", 1))), Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarball(f, reg("a/b", 3), reg("c", 0)))
	f.Add(tarball(f, &tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b"}))
	f.Add(tarball(f, reg(strings.Repeat("a/", 200)+"b", 3)))
	limits := Limits{TotalBytes: 4096, FileBytes: 2048, Files: 8, PathBytes: 64}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data, limits)
		// Most inputs are no gzip: take them as the tar too.
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		_, _ = zw.Write(data)
		_ = zw.Close()
		check(t, b.Bytes(), limits)
	})
}

func check(t *testing.T, data []byte, limits Limits) {
	t.Helper()
	files, err := Unpack(t.Context(), bytes.NewReader(data), limits)
	if err != nil {
		if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("an error of no kind: %v", err)
		}
		return
	}
	var total int64
	for name, content := range files {
		total += int64(len(content))
		if CheckPath(name) != nil || len(content) > 2048 || len(name) > 64 {
			t.Fatalf("let %q through", name)
		}
	}
	if total > limits.TotalBytes || len(files) > limits.Files {
		t.Fatalf("%d files of %d bytes", len(files), total)
	}
}

func manifests(n int) []File {
	random := rand.New(rand.NewPCG(1, 2))
	var files []File
	for i := range n {
		content := fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-%d\n  labels:\n    app.kubernetes.io/name: app-%d\nspec:\n  replicas: %d\n  template:\n    spec:\n      containers:\n      - name: main\n        image: registry.example.com/team/app@sha256:%016x%016x\n        ports:\n        - containerPort: 8080\n          name: http\n", i, i, random.IntN(9), random.Uint64(), random.Uint64())
		files = append(files, Bytes(fmt.Sprintf("apps/team-%d/app-%d/deployment.yaml", i%20, i), false, []byte(content)))
	}
	return files
}

func BenchmarkPack(b *testing.B) {
	files := manifests(2000)
	var size int
	for b.Loop() {
		data, _, err := PackBytes(files)
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(size), "archive-bytes")
}

func BenchmarkUnpack(b *testing.B) {
	data, _, err := PackBytes(manifests(2000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Unpack(b.Context(), bytes.NewReader(data), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
