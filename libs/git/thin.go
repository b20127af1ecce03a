package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the hash that git uses
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// trailer is the length of the checksum at the end of a pack.
const trailer = sha1.Size

// complete makes a thin pack self-contained: the objects that its deltas stand
// on, and that only the mirror has, are put at its end.
//
// Packs are asked for thin because only then git's server leaves out what the
// commits that were announced as had contain: cut off from its parents, a commit
// shares no history with them, and a pack that is not thin brings its whole
// tree each time, however little has changed.
func (m *mirror) complete(ctx context.Context, file *contextFile, bases map[string]bool) error {
	if err := verifyTrailer(file); err != nil {
		return err
	}
	local := m.objects()
	defer func() { _ = local.close() }()
	var added bytes.Buffer
	count := 0
	for _, hash := range slices.Sorted(maps.Keys(bases)) {
		kind, content, err := local.readAny(ctx, hash, m.limits.ObjectBytes)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue // it is in the pack, or else indexing will miss it
		}
		if err != nil {
			return err
		}
		if err := writeObject(&added, kind, content); err != nil {
			return err
		}
		count++
	}
	if count == 0 {
		return nil
	}
	return appendObjects(file, added.Bytes(), uint32(count))
}

// writeObject writes a whole object as packs hold it: type and length in seven
// bits to a byte but for the first, which has four, then the content.
func writeObject(b *bytes.Buffer, kind plumbing.ObjectType, content []byte) error {
	size := uint64(len(content))
	first := byte(kind)<<4 | byte(size&0x0f)
	if size >>= 4; size > 0 {
		first |= 0x80
	}
	b.WriteByte(first)
	if size > 0 {
		b.Write(binary.AppendUvarint(nil, size))
	}
	w := zlib.NewWriter(b)
	if _, err := w.Write(content); err != nil {
		return err
	}
	return w.Close()
}

// appendObjects puts objects between the last one and the checksum, and makes
// the count and the checksum right again.
func appendObjects(file *contextFile, objects []byte, count uint32) error {
	end, err := file.Seek(-trailer, io.SeekEnd)
	if err != nil {
		return err
	}
	var present [4]byte
	if _, err := file.ReadAt(present[:], 8); err != nil {
		return err
	}
	total := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(present[:])+count)
	if _, err := file.WriteAt(total, 8); err != nil {
		return err
	}
	if _, err := file.WriteAt(objects, end); err != nil {
		return err
	}
	sum, err := checksum(file, end+int64(len(objects)))
	if err != nil {
		return err
	}
	_, err = file.WriteAt(sum, end+int64(len(objects)))
	return err
}

// verifyTrailer checks a pack as it came, before anything is changed.
func verifyTrailer(file *contextFile) error {
	end, err := file.Seek(-trailer, io.SeekEnd)
	if err != nil {
		return err
	}
	sum, err := checksum(file, end)
	if err != nil {
		return err
	}
	var said [trailer]byte
	if _, err := file.ReadAt(said[:], end); err != nil {
		return err
	}
	if !bytes.Equal(said[:], sum) {
		return errors.New("the pack was damaged on its way")
	}
	return nil
}

func checksum(file *contextFile, length int64) ([]byte, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	h := sha1.New() //nolint:gosec // see above
	if _, err := io.CopyN(h, file, length); err != nil {
		return nil, fmt.Errorf("sum up the pack: %w", err)
	}
	return h.Sum(nil), nil
}
