package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// Fetch makes sure that the resolved commit is in the mirror, over the
// conversation that Resolve began, and opens it. A commit that is there costs no
// request. A damaged mirror is replaced.
func (r *Resolved) Fetch(ctx context.Context) (*Snapshot, error) {
	if err := r.mirror.lock(ctx); err != nil {
		return nil, fmt.Errorf("unable to fetch '%s': %w", display(r.url), err)
	}
	defer r.mirror.unlock()
	s, err := r.fetch(ctx)
	if err != nil {
		return nil, fmt.Errorf("unable to fetch '%s' at %s: %w", display(r.url), r.revision, err)
	}
	return s, nil
}

// fetch tries what is there, then a fetch on top of it, then a fresh mirror.
// The caller has the turn.
func (r *Resolved) fetch(ctx context.Context) (*Snapshot, error) {
	if r.mirror.has(r.target.hashes()...) {
		s, err := r.open(ctx)
		if !errors.Is(err, errDamaged) {
			return s, err
		}
		if err := r.replace(err); err != nil {
			return nil, err
		}
	}
	s, err := r.bring(ctx)
	if !errors.Is(err, errDamaged) {
		return s, err
	}
	if err := r.replace(err); err != nil {
		return nil, err
	}
	return r.bring(ctx)
}

// bring fetches, reads the commit and marks it.
func (r *Resolved) bring(ctx context.Context) (*Snapshot, error) {
	if err := r.mirror.fetch(ctx, r.client, r.target); err != nil {
		return nil, err
	}
	s, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	if r.target.want != r.target.commit {
		if err := r.mirror.mark(r.target.want, "tag"); err != nil {
			return nil, err
		}
	}
	return s, r.mirror.mark(r.target.commit, "")
}

// replace throws the mirror away because of what was found in it.
func (r *Resolved) replace(found error) error {
	r.mirrors.logger.Warn("git mirror damaged, fetching afresh", "url", display(r.url), "err", found)
	return r.mirror.discard()
}

// open reads the commit from the mirror.
func (r *Resolved) open(ctx context.Context) (*Snapshot, error) {
	reader := r.mirror.objects()
	r.readers = append(r.readers, reader)
	commit, err := readCommit(ctx, reader, r.target.commit)
	if err == nil && r.target.want != r.target.commit {
		commit.RawTag, err = reader.read(ctx, plumbing.TagObject, r.target.want, maxCommitBytes)
	}
	if err == nil {
		return &Snapshot{Revision: r.revision, Commit: commit, resolved: r, objects: reader, target: r.target}, nil
	}
	if len(r.target.full) > 0 && errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("commit %s: %w", r.target.commit, ErrNotFound)
	}
	return nil, err
}

// reopen gives a snapshot that found its mirror damaged another one. The mirror
// stays when somebody else has replaced it in the meantime.
func (s *Snapshot) reopen(ctx context.Context, found error) error {
	r := s.resolved
	if err := r.mirror.lock(ctx); err != nil {
		return err
	}
	defer r.mirror.unlock()
	if r.mirror.generation == s.objects.generation {
		if err := r.replace(found); err != nil {
			return err
		}
	}
	r.target = s.target
	fresh, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	s.objects = fresh.objects
	return nil
}
