package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Limits bound what Unpack takes into memory. A zero field means the one of DefaultLimits.
type Limits struct {
	// TotalBytes is the size of all files together.
	TotalBytes int64
	// FileBytes is the size of one file.
	FileBytes int64
	// Files is the number of entries, directories included.
	Files int
	// PathBytes is the length of a path.
	PathBytes int
}

// DefaultLimits are generous for a repository of manifests. Whoever packs must
// not allow more.
func DefaultLimits() Limits {
	return Limits{TotalBytes: 256 << 20, FileBytes: 64 << 20, Files: 500_000, PathBytes: 1024}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.TotalBytes == 0 {
		l.TotalBytes = d.TotalBytes
	}
	if l.FileBytes == 0 {
		l.FileBytes = d.FileBytes
	}
	if l.Files == 0 {
		l.Files = d.Files
	}
	if l.PathBytes == 0 {
		l.PathBytes = d.PathBytes
	}
	return l
}

// headerBytes is what one entry may take besides its content: the tar header,
// an extended header with a long path, and padding.
const headerBytes = 4 << 10

// Unpack reads a tar.gz into memory. It returns ErrTooLarge when a limit is
// reached, before the memory is taken, and ErrInvalid for everything that is
// not a tree of regular files: links, devices, names that leave the root, names
// that occur twice.
func Unpack(ctx context.Context, r io.Reader, limits Limits) (map[string][]byte, error) {
	u, err := unpack(ctx, r, limits)
	if err != nil {
		return nil, err
	}
	return u.files, nil
}

// UnpackFiles is Unpack for who wants to pack the files again: it also tells
// which are executable. They come in no order.
func UnpackFiles(ctx context.Context, r io.Reader, limits Limits) ([]File, error) {
	u, err := unpack(ctx, r, limits)
	if err != nil {
		return nil, err
	}
	files := make([]File, 0, len(u.files))
	for name, content := range u.files {
		files = append(files, Bytes(name, u.executable[name], content))
	}
	return files, nil
}

func unpack(ctx context.Context, r io.Reader, limits Limits) (*unpacker, error) {
	u := &unpacker{limits: limits.orDefault(), files: map[string][]byte{}, executable: map[string]bool{}}
	zr, err := gzip.NewReader(&contextReader{ctx: ctx, r: r})
	if err != nil {
		return nil, readError(ctx, err)
	}
	defer zr.Close()
	stream := &cappedReader{r: zr, left: u.limits.TotalBytes + int64(u.limits.Files+2)*headerBytes}
	if err := u.read(ctx, tar.NewReader(stream)); err != nil {
		return nil, err
	}
	// To the end, so that the checksum of the compression is looked at.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return nil, readError(ctx, err)
	}
	return u, u.checkTree()
}

type unpacker struct {
	limits Limits
	files  map[string][]byte
	// executable names those of files whose owner may run them.
	executable map[string]bool
	entries    int
	total      int64
}

func (u *unpacker) read(ctx context.Context, tr *tar.Reader) error {
	for {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return readError(ctx, err)
		}
		if err := u.entry(ctx, tr, header); err != nil {
			return err
		}
	}
}

func (u *unpacker) entry(ctx context.Context, tr *tar.Reader, header *tar.Header) error {
	u.entries++
	if u.entries > u.limits.Files {
		return fmt.Errorf("%w: more than %d files", ErrTooLarge, u.limits.Files)
	}
	if len(header.Name) > u.limits.PathBytes {
		return fmt.Errorf("%w: a path longer than %d bytes", ErrTooLarge, u.limits.PathBytes)
	}
	name := strings.TrimPrefix(header.Name, "./")
	switch header.Typeflag {
	case tar.TypeDir:
		if name = strings.TrimSuffix(name, "/"); name == "" || name == "." {
			return nil
		}
		return CheckPath(name)
	case tar.TypeReg:
		u.executable[name] = header.Mode&0o100 != 0
		return u.file(ctx, tr, name, header.Size)
	}
	return fmt.Errorf("%w: %q is not a regular file", ErrInvalid, header.Name)
}

func (u *unpacker) file(ctx context.Context, tr *tar.Reader, name string, size int64) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if _, twice := u.files[name]; twice {
		return fmt.Errorf("%w: %q occurs twice", ErrInvalid, name)
	}
	if size < 0 || size > u.limits.FileBytes {
		return fmt.Errorf("%w: %q is larger than %d bytes", ErrTooLarge, name, u.limits.FileBytes)
	}
	if u.total += size; u.total > u.limits.TotalBytes {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, u.limits.TotalBytes)
	}
	content, err := readFile(tr, size)
	if err != nil {
		return readError(ctx, err)
	}
	u.files[name] = content
	return nil
}

// readFile reads a file whole. The size is a claim: of what is not there, no more than a mebibyte is taken.
func readFile(r io.Reader, size int64) ([]byte, error) {
	if size <= 1<<20 {
		content := make([]byte, size)
		_, err := io.ReadFull(r, content)
		return content, err
	}
	var content bytes.Buffer
	content.Grow(1 << 20)
	_, err := content.ReadFrom(r)
	return content.Bytes(), err
}

func (u *unpacker) checkTree() error {
	for name := range u.files {
		if err := checkParents(name, func(dir string) bool { _, ok := u.files[dir]; return ok }); err != nil {
			return err
		}
	}
	return nil
}

// readError tells a stop by the context from a bad archive.
func readError(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("unpack: %w", cause)
	}
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// cappedReader fails once more than left bytes were read.
type cappedReader struct {
	r    io.Reader
	left int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, fmt.Errorf("%w: the unpacked stream does not end", ErrTooLarge)
	}
	return n, err
}
