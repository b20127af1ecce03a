package branch

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-cd/sluice/libs/git"
)

const headPrefix = "refs/heads/"

// Options say what to open.
type Options struct {
	// Mirrors keep what was fetched, as a cache.
	Mirrors *git.Mirrors
	// Source is the repository, what to check out of it, and the credentials for
	// fetching and pushing.
	Source git.Source
	// Push names the branch to push to, without refs/heads/. It may be another
	// one than is checked out, and need not exist yet. The default is the branch
	// that is checked out.
	Push string
}

// Branch is a branch to write to, as it was when it was opened. It is not for
// concurrent use.
type Branch struct {
	mirrors *git.Mirrors
	source  git.Source
	ref     string
	base    *Head
	head    *Head // nil where the branch is not there yet
	opened  []*git.Resolved
}

// Open fetches what is checked out and, where that is another one, the branch to
// push to. The caller closes it.
func Open(ctx context.Context, o Options) (*Branch, error) {
	ref, err := o.ref()
	if err != nil {
		return nil, err
	}
	b := &Branch{mirrors: o.Mirrors, source: o.Source, ref: ref}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (o Options) ref() (string, error) {
	name := o.Push
	if name == "" {
		r := o.Source.Ref
		if name = r.Branch; r.Tag != "" || r.SemVer != "" || r.Name != "" || r.Commit != "" {
			return "", fmt.Errorf("%w: what is checked out is no branch, and no branch to push to is named", ErrInvalid)
		}
	}
	if name == "" {
		return "", fmt.Errorf("%w: no branch to push to is named", ErrInvalid)
	}
	return headPrefix + name, checkRef(headPrefix + name)
}

func (b *Branch) open(ctx context.Context) (err error) {
	if b.base, err = b.fetch(ctx, b.source.Ref); err != nil {
		return err
	}
	if b.base.reference() == b.ref {
		b.head = b.base
		return nil
	}
	b.head, err = b.fetch(ctx, git.Ref{Name: b.ref})
	if errors.Is(err, git.ErrNotFound) { // should it be there after all, the server refuses to create it
		b.head, err = nil, nil
	}
	return err
}

func (b *Branch) fetch(ctx context.Context, ref git.Ref) (*Head, error) {
	src := b.source
	src.Ref = ref
	resolved, err := b.mirrors.Resolve(ctx, src)
	if err != nil {
		return nil, err
	}
	b.opened = append(b.opened, resolved)
	snapshot, err := resolved.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	return &Head{snapshot: snapshot}, nil
}

// Close hangs up. Heads cannot be read any more.
func (b *Branch) Close() error {
	var errs []error
	for _, resolved := range b.opened {
		errs = append(errs, resolved.Close())
	}
	b.opened = nil
	return errors.Join(errs...)
}

// Ref is the full name of the branch to push to.
func (b *Branch) Ref() string { return b.ref }

// Exists reports whether the branch to push to was there.
func (b *Branch) Exists() bool { return b.head != nil }

// Base is what is checked out.
func (b *Branch) Base() *Head { return b.base }

// Head is the commit to stand on: that of the branch to push to, or where there
// is none yet, what is checked out.
func (b *Branch) Head() *Head {
	if b.head == nil {
		return b.base
	}
	return b.head
}
