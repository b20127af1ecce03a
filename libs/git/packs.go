package git

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// cacheBytes is what one reader may keep of the bases of deltas.
const cacheBytes = 32 * cache.MiByte

// packs are the packs of a mirror with their indexes. Packs are opened when
// something is read from them, and stay so: a mirror that is thrown away
// meanwhile can still be read as far as that.
type packs struct {
	all   []*pack
	bases cache.Object
}

type pack struct {
	path  string
	index *idxfile.MemoryIndex
	file  *packfile.Packfile
}

func openPacks(dir string) (*packs, error) {
	found, err := filepath.Glob(filepath.Join(dir, packDir, "pack-*.pack"))
	if err != nil {
		return nil, err
	}
	p := &packs{bases: cache.NewObjectLRU(cacheBytes)}
	for _, path := range found {
		index, err := readIndex(strings.TrimSuffix(path, ".pack") + ".idx")
		if err != nil {
			return nil, fmt.Errorf("read the index of %s: %w", filepath.Base(path), err)
		}
		p.all = append(p.all, &pack{path: path, index: index})
	}
	return p, nil
}

func readIndex(path string) (*idxfile.MemoryIndex, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	index := idxfile.NewMemoryIndex()
	return index, idxfile.NewDecoder(bufio.NewReader(file)).Decode(index)
}

// find returns the pack that holds an object, and where.
func (p *packs) find(id plumbing.Hash) (*packfile.Packfile, int64, error) {
	for _, candidate := range p.all {
		offset, err := candidate.index.FindOffset(id)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if err := p.open(candidate); err != nil {
			return nil, 0, err
		}
		return candidate.file, offset, nil
	}
	return nil, 0, plumbing.ErrObjectNotFound
}

func (p *packs) open(of *pack) error {
	if of.file != nil {
		return nil
	}
	file, err := os.Open(of.path)
	if err != nil {
		return err
	}
	// Without a file system the library reads objects into memory at once.
	of.file = packfile.NewPackfileWithCache(of.index, nil, unlocked{file}, p.bases, 0)
	return nil
}

func (p *packs) close() error {
	var errs []error
	for _, of := range p.all {
		if of.file != nil {
			errs = append(errs, of.file.Close())
		}
	}
	return errors.Join(errs...)
}

// unlocked is a file that nobody else writes to.
type unlocked struct{ *os.File }

func (unlocked) Lock() error   { return nil }
func (unlocked) Unlock() error { return nil }
