package git

import (
	"context"
	"crypto/sha1" //nolint:gosec // the hash that git uses
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// objects reads a mirror as it is now. Reading takes turns, as the library is
// not safe for more.
type objects struct {
	dir        string
	generation int
	known      *contentCache

	mu    sync.Mutex
	packs *packs // nil until something is read
}

func (m *mirror) objects() *objects {
	return &objects{dir: m.dir, generation: m.generation, known: m.known}
}

func (o *objects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.packs == nil {
		return nil
	}
	return o.packs.close()
}

// read returns the content of an object of one kind and at most limit bytes. The
// content is checked against the hash: a mirror on a bad disk does not deploy
// anything. Everything that a fresh mirror may heal is errDamaged.
func (o *objects) read(ctx context.Context, kind plumbing.ObjectType, hash string, limit int64) ([]byte, error) {
	found, content, err := o.readAny(ctx, hash, limit)
	if err != nil {
		return nil, err
	}
	if found != kind {
		return nil, fmt.Errorf("%w: object %s is a %s where a %s belongs", ErrInvalidTree, hash, found, kind)
	}
	return content, nil
}

// readAny is read for an object of whatever kind.
func (o *objects) readAny(ctx context.Context, hash string, limit int64) (plumbing.ObjectType, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	key := contentKey{o.dir, hash}
	if kind, content, ok := o.known.get(key); ok && int64(len(content)) <= limit {
		return kind, content, nil
	}
	object, err := o.load(plumbing.NewHash(hash), limit)
	if errors.Is(err, ErrTooLarge) {
		return 0, nil, fmt.Errorf("object %s is %w of %d bytes", hash, err, limit)
	}
	if err != nil {
		return 0, nil, o.damaged(hash, err)
	}
	content, err := readAll(object)
	if err != nil {
		return 0, nil, o.damaged(hash, err)
	}
	if hashOf(object.Type(), content) != hash {
		return 0, nil, fmt.Errorf("%w: object %s has another content", errDamaged, hash)
	}
	o.known.put(key, object.Type(), content)
	return object.Type(), content, nil
}

// load takes an object out of its pack.
func (o *objects) load(id plumbing.Hash, limit int64) (object plumbing.EncodedObject, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the reader failed: %v", r)
		}
	}()
	if o.packs == nil {
		if o.packs, err = openPacks(o.dir); err != nil {
			return nil, err
		}
	}
	file, offset, err := o.packs.find(id)
	if err != nil {
		return nil, err
	}
	size, err := file.GetSizeByOffset(offset)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, ErrTooLarge
	}
	return file.Get(id)
}

func (o *objects) damaged(hash string, err error) error {
	if _, statErr := os.Stat(filepath.Join(o.dir, packDir)); errors.Is(statErr, os.ErrNotExist) {
		return fmt.Errorf("%w: it is gone", errDamaged)
	}
	return fmt.Errorf("%w: read object %s: %w", errDamaged, hash, err)
}

func readAll(object plumbing.EncodedObject) (content []byte, err error) {
	r, err := object.Reader()
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	content = make([]byte, object.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	return content, nil
}

func hashOf(kind plumbing.ObjectType, content []byte) string {
	h := sha1.New() //nolint:gosec // see above
	fmt.Fprintf(h, "%s %d\x00", kind, len(content))
	_, _ = h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}
