package branch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/wire"
)

// maxRewindSearch is how many generations are fetched to see that a commit
// descends from what another ref points at.
const maxRewindSearch = 512

// PushOptions say more than where to push.
type PushOptions struct {
	// Refspec pushes to one more ref, see Destination.
	Refspec string
	// Options are push options, "key" or "key=value" each.
	Options []string
}

// Push makes the commit the head of the branch, and nothing else of it: where the
// branch is not any more what it was when it was opened, it is git.ErrRaceLost. An
// error from the network can mean that the push was done all the same; where the
// server could still be asked, it was.
//
// With a refspec both refs move or none does. Where the server cannot promise that,
// the branch moves first, then the other ref; when that fails, it is a *PartialError.
func (b *Branch) Push(ctx context.Context, c *Commit, o PushOptions) error {
	pusher, err := b.mirrors.Pusher(b.source)
	if err != nil {
		return err
	}
	defer func() { _ = pusher.Close() }()
	updates, err := b.updates(ctx, pusher, c, o.Refspec)
	if err != nil {
		return fmt.Errorf("unable to push: %w", err)
	}
	now, then, err := split(ctx, pusher, updates)
	if err != nil {
		return fmt.Errorf("unable to push: %w", err)
	}
	err = pusher.Push(ctx, wire.PushRequest{Updates: now, Options: o.Options, Pack: c.Pack})
	if err != nil && !b.done(ctx, err, now) {
		return fmt.Errorf("unable to push: %w", err)
	}
	_ = b.Head().snapshot.Keep(ctx, c.Hash, c.Pack) // otherwise it is fetched
	for _, u := range then {
		if err := b.bring(ctx, u.Ref, u.New, o.Options); err != nil {
			return err
		}
	}
	return nil
}

// split says what can be pushed at once, and what has to wait until that is done.
func split(ctx context.Context, pusher *wire.Pusher, updates []wire.Update) (now, then []wire.Update, err error) {
	if len(updates) == 1 {
		return updates, nil, nil
	}
	atomic, err := pusher.Atomic(ctx)
	if err != nil || atomic {
		return updates, nil, err
	}
	return updates[:1], updates[1:], nil
}

// updates are what the push is to do, after it is certain that no commit gets lost
// by it.
func (b *Branch) updates(ctx context.Context, pusher *wire.Pusher, c *Commit, refspec string) ([]wire.Update, error) {
	first := wire.Update{Ref: b.ref, New: c.Hash}
	if b.head != nil {
		first.Old = b.head.Hash()
	}
	if first.Old != "" && !slices.Contains(c.Parents, first.Old) {
		return nil, fmt.Errorf("push to %s: %w", b.ref, ErrRewind)
	}
	if refspec == "" {
		return []wire.Update{first}, nil
	}
	ref, err := Destination(refspec)
	if err != nil || ref == b.ref {
		return []wire.Update{first}, err
	}
	refs, err := pusher.Refs(ctx)
	if err != nil {
		return nil, err
	}
	second := wire.Update{Ref: ref, Old: refs[ref], New: c.Hash}
	if err := b.descends(ctx, c, second); err != nil {
		return nil, err
	}
	return []wire.Update{first, second}, nil
}

// descends makes sure that a commit stands on what a ref points at.
func (b *Branch) descends(ctx context.Context, c *Commit, u wire.Update) error {
	if u.Old == "" || slices.Contains(c.Parents, u.Old) {
		return nil
	}
	found, _, err := b.Head().Contains(ctx, u.Old, maxRewindSearch)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("push to %s: %w", u.Ref, ErrRewind)
	}
	return nil
}

// done asks the server, after an error that does not say, whether it has done the
// push.
func (b *Branch) done(ctx context.Context, failed error, updates []wire.Update) bool {
	if !errors.Is(failed, git.ErrUnreachable) || ctx.Err() != nil {
		return false
	}
	pusher, err := b.mirrors.Pusher(b.source)
	if err != nil {
		return false
	}
	defer func() { _ = pusher.Close() }()
	refs, err := pusher.Refs(ctx)
	return err == nil && !slices.ContainsFunc(updates, func(u wire.Update) bool { return refs[u.Ref] != u.New })
}
