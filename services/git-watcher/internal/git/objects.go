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

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// cacheBytes is what one reader may keep of the bases of deltas.
const cacheBytes = 32 * cache.MiByte

// objects reads a mirror as it is now. Reading takes turns, as the library is
// not safe for more.
type objects struct {
	dir        string
	generation int

	mu    sync.Mutex
	store *filesystem.ObjectStorage
}

func openObjects(dir string, generation int) *objects {
	dot := dotgit.New(osfs.New(dir, osfs.WithBoundOS()))
	return &objects{dir: dir, generation: generation, store: filesystem.NewObjectStorageWithOptions(
		dot, cache.NewObjectLRU(cacheBytes), filesystem.Options{KeepDescriptors: true})}
}

func (o *objects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.store.Close()
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
func (o *objects) readAny(ctx context.Context, hash string, limit int64) (kind plumbing.ObjectType, content []byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: read %s: the reader failed: %v", errDamaged, hash, r)
		}
	}()
	id := plumbing.NewHash(hash)
	size, err := o.store.EncodedObjectSize(id)
	if err != nil {
		return 0, nil, o.damaged(hash, err)
	}
	if size > limit {
		return 0, nil, fmt.Errorf("object %s is %w of %d bytes", hash, ErrTooLarge, limit)
	}
	object, err := o.store.EncodedObject(plumbing.AnyObject, id)
	if err != nil {
		return 0, nil, o.damaged(hash, err)
	}
	content, err = readAll(object)
	if err != nil {
		return 0, nil, o.damaged(hash, err)
	}
	if hashOf(object.Type(), content) != hash {
		return 0, nil, fmt.Errorf("%w: object %s has another content", errDamaged, hash)
	}
	return object.Type(), content, nil
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
