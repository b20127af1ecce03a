package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// install stores a pack and its index. The pack is measured before it is
// unpacked for indexing, as a few kilobytes can stand for gigabytes.
func (m *mirror) install(ctx context.Context, pack io.Reader) (err error) {
	file, err := os.CreateTemp(filepath.Join(m.dir, packDir), tempPrefix)
	if err != nil {
		return fmt.Errorf("store the pack: %w", err)
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name()) // gone already when all went well
	}()
	// The library that reads packs is asked to survive anything; should it not,
	// one bad repository must not take the others down.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read the pack: the reader failed: %v", r)
		}
	}()
	size, err := io.Copy(file, pack)
	if err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	if size > m.limits.PackBytes {
		return fmt.Errorf("the pack is %w", ErrTooLarge)
	}
	source := &contextFile{ctx: ctx, File: file}
	bases, err := m.limits.measure(source)
	if err != nil {
		return fmt.Errorf("measure the pack: %w", err)
	}
	if len(bases) > 0 {
		if err := m.complete(ctx, source, bases); err != nil {
			return fmt.Errorf("complete the pack: %w", err)
		}
	}
	return m.index(source)
}

// index writes the index and gives both files their names: the index first, as
// a pack without one would make the mirror unreadable.
func (m *mirror) index(file *contextFile) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the pack: %w", err)
	}
	writer := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(file), writer)
	if err != nil {
		return fmt.Errorf("read the pack: %w", err)
	}
	checksum, err := parser.Parse()
	if errors.Is(err, packfile.ErrReferenceDeltaNotFound) || errors.Is(err, plumbing.ErrObjectNotFound) {
		// The server counted on what the mirror was said to have.
		return fmt.Errorf("%w: the pack stands on an object that is not there", errDamaged)
	}
	if err != nil {
		return fmt.Errorf("read the pack: %w", err)
	}
	index, err := writer.Index()
	if err != nil {
		return fmt.Errorf("index the pack: %w", err)
	}
	var encoded bytes.Buffer
	if _, err := idxfile.NewEncoder(&encoded).Encode(index); err != nil {
		return fmt.Errorf("index the pack: %w", err)
	}
	name := filepath.Join(m.dir, packDir, "pack-"+checksum.String())
	temporary := file.Name() + ".idx"
	if err := errors.Join(os.WriteFile(temporary, encoded.Bytes(), 0o600), os.Rename(temporary, name+".idx"), file.Close()); err != nil {
		return fmt.Errorf("store the index of the pack: %w", err)
	}
	if err := os.Rename(file.Name(), name+".pack"); err != nil {
		return fmt.Errorf("store the pack: %w", err)
	}
	return nil
}

// measure reads through a pack without keeping anything and adds up what its
// objects will take once unpacked. It returns the objects that deltas name as
// what they stand on.
func (l Limits) measure(file *contextFile) (bases map[string]bool, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	scanner := packfile.NewScanner(file)
	_, count, err := scanner.Header()
	if err != nil {
		return nil, err
	}
	left := l.UnpackedBytes
	bases = map[string]bool{}
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return nil, err
		}
		size, err := l.objectSize(scanner, header)
		if err != nil {
			return nil, err
		}
		if left -= size; left < 0 {
			return nil, fmt.Errorf("the unpacked pack is %w of %d bytes", ErrTooLarge, l.UnpackedBytes)
		}
		if header.Type == plumbing.REFDeltaObject {
			bases[header.Reference.String()] = true
		}
	}
	return bases, nil
}

// objectSize passes over an object and returns its size: for a delta the larger
// one of its own and of what comes out.
func (l Limits) objectSize(scanner *packfile.Scanner, header *packfile.ObjectHeader) (int64, error) {
	size := header.Length
	if size <= l.ObjectBytes {
		start := new(deltaStart)
		if _, _, err := scanner.NextObject(start); err != nil {
			return 0, err
		}
		if header.Type.IsDelta() {
			size = max(size, start.targetSize())
		}
	}
	if size > l.ObjectBytes {
		return 0, fmt.Errorf("an object is %w of %d bytes", ErrTooLarge, l.ObjectBytes)
	}
	return size, nil
}

// deltaStart keeps the beginning of a delta: two lengths, of what it is applied
// to and of what comes out.
type deltaStart struct {
	bytes [2 * binary.MaxVarintLen64]byte
	n     int
}

func (d *deltaStart) Write(p []byte) (int, error) {
	d.n += copy(d.bytes[d.n:], p)
	return len(p), nil
}

func (d *deltaStart) targetSize() int64 {
	r := bytes.NewReader(d.bytes[:d.n])
	_, _ = binary.ReadUvarint(r) // indexing finds what is malformed
	size, err := binary.ReadUvarint(r)
	if err != nil || size > 1<<62 {
		return 1 << 62
	}
	return int64(size)
}

// contextFile stops reading when its context ends.
type contextFile struct {
	ctx context.Context
	*os.File
}

func (c *contextFile) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.File.Read(p)
}
