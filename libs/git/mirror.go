package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// A mirror is a directory with git's objects/pack below it, and a file per
// commit in tips/ whose tree is completely there. Each fetch brings one commit
// without its parents, and one more pack. A tip is written after its pack, and
// packs appear by rename: a process that dies in between leaves at most a
// temporary file or a pack without a tip.
const (
	packDir    = "objects/pack"
	tipDir     = "tips" // also of annotated tag objects, see mirror.mark
	tempPrefix = "tmp_"
	// maxHaves is the number of tips that a fetch stands on: the latest ones.
	maxHaves = 16
	// maxTips is the number of tips that are remembered.
	maxTips = 256
)

// mirror is the state of one mirror in memory. Whoever holds the turn may change
// the directory and the generation; the other fields belong to Mirrors.mu.
type mirror struct {
	dir    string
	limits Limits
	known  *contentCache
	turn   chan struct{}
	// generation counts how often the directory was thrown away.
	generation int

	users  int
	used   time.Time
	server *wire.Server
}

func newMirror(dir string, limits Limits, known *contentCache) *mirror {
	return &mirror{dir: dir, limits: limits, known: known, turn: make(chan struct{}, 1)}
}

// lock waits for the turn.
func (m *mirror) lock(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another fetch of the same repository: %w", ctx.Err())
	}
}

func (m *mirror) unlock() { <-m.turn }

// prepare makes the directories and removes what a dead process left behind.
func (m *mirror) prepare() error {
	for _, dir := range []string{packDir, tipDir} {
		if err := os.MkdirAll(filepath.Join(m.dir, dir), 0o700); err != nil {
			return fmt.Errorf("prepare the mirror: %w", err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(m.dir, packDir))
	if err != nil {
		return fmt.Errorf("prepare the mirror: %w", err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(m.dir, packDir, entry.Name())); err != nil {
				return fmt.Errorf("prepare the mirror: %w", err)
			}
		}
	}
	return nil
}

// discard throws the mirror away.
func (m *mirror) discard() error {
	m.generation++
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("throw the mirror away: %w", err)
	}
	return nil
}

// has reports whether all the objects are marked as complete.
func (m *mirror) has(hashes ...string) bool {
	return !slices.ContainsFunc(hashes, func(hash string) bool {
		_, err := os.Stat(filepath.Join(m.dir, tipDir, hash))
		return err != nil
	})
}

// mark records that an object is completely there. The file of a commit is
// empty; the one of a tag object says "tag", and is no ground for a fetch.
func (m *mirror) mark(hash, kind string) error {
	if err := os.WriteFile(filepath.Join(m.dir, tipDir, hash), []byte(kind), 0o600); err != nil {
		return fmt.Errorf("mark %s as fetched: %w", hash, err)
	}
	now := time.Now()
	if err := os.Chtimes(m.dir, now, now); err != nil { // for Mirrors.Expire
		return fmt.Errorf("mark the mirror as used: %w", err)
	}
	return nil
}

// haves are the commits that a fetch can stand on, the latest ones. On the way
// it forgets tips that are long past.
func (m *mirror) haves() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(m.dir, tipDir))
	if err != nil {
		return nil, fmt.Errorf("list the fetched commits: %w", err)
	}
	type tip struct {
		hash   string
		commit bool
		at     time.Time
	}
	var tips []tip
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && wire.IsHash(entry.Name()) {
			tips = append(tips, tip{entry.Name(), info.Size() == 0, info.ModTime()})
		}
	}
	slices.SortFunc(tips, func(a, b tip) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(a.hash, b.hash)) })
	var haves []string
	for i, t := range tips {
		if i >= maxTips {
			_ = os.Remove(filepath.Join(m.dir, tipDir, t.hash)) // it is tried again next time
		} else if t.commit && len(haves) < maxHaves {
			haves = append(haves, t.hash)
		}
	}
	return haves, nil
}

// worn reports whether so many packs have come together that reading gets slow.
func (m *mirror) worn() bool {
	packs, err := filepath.Glob(filepath.Join(m.dir, packDir, "*.pack"))
	return err == nil && len(packs) >= m.limits.Packs
}

// target is what a fetch is to bring.
type target struct {
	// want is what the server is asked for: the commit or an annotated tag of it.
	want, commit string
	// full lists, for servers that hand out nothing but the tips of refs, the
	// tips whose complete history is to be fetched to find the commit in it.
	full []string
}

func (t target) hashes() []string { return []string{t.want, t.commit} }

// fetch brings the target in, standing on what is there. The caller has the turn.
func (m *mirror) fetch(ctx context.Context, client *wire.Client, t target) error {
	if m.worn() {
		if err := m.discard(); err != nil {
			return err
		}
	}
	if err := m.prepare(); errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	} else if err != nil {
		return err
	}
	request := wire.FetchRequest{Wants: t.full}
	if len(t.full) == 0 {
		haves, err := m.haves()
		if err != nil {
			return err
		}
		request = wire.FetchRequest{Wants: []string{t.want}, Haves: haves, Shallow: true}
	}
	pack, err := client.Fetch(ctx, request)
	if err != nil {
		return err
	}
	return errors.Join(m.install(ctx, pack), pack.Close())
}
