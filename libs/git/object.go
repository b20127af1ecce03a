package git

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // the hash that git uses
	"encoding/binary"
	"fmt"
	"math"

	"github.com/go-git/go-git/v5/plumbing"
)

// Object is one that is to be written.
type Object struct {
	kind    plumbing.ObjectType
	Hash    string
	Content []byte
}

// NewBlob is the content of a file.
func NewBlob(content []byte) Object { return newObject(plumbing.BlobObject, content) }

// NewTree is a directory, its entries encoded.
func NewTree(content []byte) Object { return newObject(plumbing.TreeObject, content) }

// NewCommit is a commit, encoded.
func NewCommit(content []byte) Object { return newObject(plumbing.CommitObject, content) }

func newObject(kind plumbing.ObjectType, content []byte) Object {
	return Object{kind: kind, Hash: hashOf(kind, content), Content: content}
}

// Pack encodes whole objects as a pack.
func Pack(objects []Object) ([]byte, error) {
	if len(objects) > math.MaxInt32 {
		return nil, fmt.Errorf("pack: the number of objects is %w", ErrTooLarge)
	}
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02")
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(objects))))
	w := zlib.NewWriter(&b)
	for _, o := range objects {
		writeHeader(&b, o.kind, len(o.Content))
		w.Reset(&b)
		if _, err := w.Write(o.Content); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.Hash, err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.Hash, err)
		}
	}
	sum := sha1.Sum(b.Bytes()) //nolint:gosec // see above
	b.Write(sum[:])
	return b.Bytes(), nil
}
