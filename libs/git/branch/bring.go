package branch

import (
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/wire"
)

// bringAttempts is how often a ref is moved where others move it, too.
const bringAttempts = 5

// Bring does the half of a push that a *PartialError left undone: the ref of the refspec gets
// a commit of the branch, unless it stands on that already. Servers that move several
// refs together have left nothing undone.
func (b *Branch) Bring(ctx context.Context, commit string, o PushOptions) error {
	ref, err := Destination(o.Refspec)
	if err != nil || ref == b.ref {
		return err
	}
	pusher, err := b.mirrors.Pusher(b.source)
	if err != nil {
		return err
	}
	atomic, err := pusher.Atomic(ctx)
	_ = pusher.Close()
	if atomic {
		return nil
	}
	if err != nil {
		return b.partial(ref, commit, err)
	}
	return b.bring(ctx, ref, commit, o.Options)
}

func (b *Branch) partial(ref, commit string, cause error) error {
	return &PartialError{Branch: b.ref, Ref: ref, Commit: commit, cause: cause}
}

// bring moves a ref forward to a commit that is in the branch.
func (b *Branch) bring(ctx context.Context, ref, commit string, options []string) error {
	for attempt := 1; ; attempt++ {
		err := b.bringOnce(ctx, ref, commit, options)
		if err == nil {
			return nil
		}
		if !raceLost(err) || attempt == bringAttempts {
			return b.partial(ref, commit, err)
		}
		if err := pause(ctx, attempt); err != nil {
			return b.partial(ref, commit, err)
		}
	}
}

func (b *Branch) bringOnce(ctx context.Context, ref, commit string, options []string) error {
	fresh := &Branch{mirrors: b.mirrors, source: b.source, ref: b.ref}
	defer func() { _ = fresh.Close() }()
	var err error
	if fresh.head, err = fresh.fetch(ctx, git.Ref{Name: b.ref}); err != nil {
		return err
	}
	pusher, err := b.mirrors.Pusher(b.source)
	if err != nil {
		return err
	}
	defer func() { _ = pusher.Close() }()
	refs, err := pusher.Refs(ctx)
	if err != nil {
		return err
	}
	u := wire.Update{Ref: ref, Old: refs[ref], New: commit}
	if there, err := fresh.has(ctx, u); err != nil || there {
		return err
	}
	empty, err := git.Pack(nil) // the server has it all
	if err != nil {
		return err
	}
	err = pusher.Push(ctx, wire.PushRequest{Updates: []wire.Update{u}, Options: options, Pack: empty})
	if err != nil && b.done(ctx, err, []wire.Update{u}) {
		return nil
	}
	return err
}

// has reports whether a ref stands on the new commit already. It is ErrRewind when moving
// it there would take commits out of it.
func (b *Branch) has(ctx context.Context, u wire.Update) (bool, error) {
	if u.Old == "" || u.Old == u.New {
		return u.Old == u.New, nil
	}
	forward, _, err := b.head.standsOn(ctx, u.New, u.Old, maxRewindSearch)
	if err != nil || forward {
		return false, err
	}
	other, err := b.fetch(ctx, git.Ref{Name: u.Ref})
	if err != nil {
		return false, err
	}
	found, _, err := other.Contains(ctx, u.New, maxRewindSearch)
	if err == nil && !found {
		err = fmt.Errorf("push to %s: %w", u.Ref, ErrRewind)
	}
	return found, err
}
