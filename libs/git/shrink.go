package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// onDisk is what a mirror takes.
type onDisk struct {
	key   string
	bytes int64
	used  time.Time // by anybody, or its last fetch where an earlier process was the last who used it
}

// Shrink removes mirrors until all together have no more bytes on disk than most: first those that were not used for the longest. Those
// in use stay, so what is fetched meanwhile comes on top.
func (m *Mirrors) Shrink(ctx context.Context, most int64) error {
	all, total, err := m.measure(ctx)
	if err != nil {
		return fmt.Errorf("measure the mirrors: %w", err)
	}
	slices.SortFunc(all, func(a, b onDisk) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.key, b.key)) })
	var errs []error
	for _, mirror := range all {
		if total <= most || ctx.Err() != nil {
			break
		}
		removed, err := m.expire(mirror.key, mirror.used)
		if removed {
			total -= mirror.bytes
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// measure returns the mirrors on disk and the sum of their bytes.
func (m *Mirrors) measure(ctx context.Context) (all []onDisk, total int64, err error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		bytes, err := size(ctx, filepath.Join(m.dir, entry.Name()))
		if err != nil {
			return nil, 0, err
		}
		all, total = append(all, onDisk{entry.Name(), bytes, m.lastUse(entry.Name(), info.ModTime())}), total+bytes
	}
	return all, total, nil
}

func (m *Mirrors) lastUse(key string, fetched time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.mirrors[key]; ok {
		return known.used
	}
	return fetched
}

// size sums up the files of a directory; files come and go meanwhile.
func size(ctx context.Context, dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, ctx.Err())
	})
	return bytes, err
}
