package git

import (
	"bytes"
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// The kinds of refusals of a push, for errors.Is.
var (
	// ErrReadOnly: the credentials may read and not write, or the repository
	// takes no pushes at all.
	ErrReadOnly = wire.ErrReadOnly
	// ErrProtected: a rule of the server keeps pushes away from the branch.
	ErrProtected = wire.ErrProtected
	// ErrDeclined: a hook of the server declined the push.
	ErrDeclined = wire.ErrDeclined
	// ErrRaceLost: somebody else moved the branch first.
	ErrRaceLost = wire.ErrRaceLost
	// ErrRefused: the server gave another reason.
	ErrRefused = wire.ErrRefused
	// ErrOptions: the server takes no push options.
	ErrOptions = wire.ErrOptions
)

// Pusher prepares a push to the source's repository, by the same credentials,
// authorities and proxy as a fetch; nothing is sent yet. The caller closes it.
func (m *Mirrors) Pusher(src Source) (*wire.Pusher, error) {
	u, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	if err := src.Auth.check(u); err != nil {
		return nil, err
	}
	if err := m.checkSecure(u); err != nil {
		return nil, err
	}
	if u.Scheme == "ssh" {
		o, err := m.sshOptions(u, src.Auth)
		if err != nil {
			return nil, err
		}
		return wire.NewSSHPusher(o), nil
	}
	o, err := m.httpOptions(u, src, nil)
	if err != nil {
		return nil, err
	}
	return wire.NewHTTPPusher(o), nil
}

// Keep puts a commit that was made on top of the snapshot's, and the server has
// taken, into the mirror, so that it need not be fetched. The pack holds all
// that the commit changes.
func (s *Snapshot) Keep(ctx context.Context, commit string, pack []byte) error {
	m := s.resolved.mirror
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if m.generation != s.objects.generation {
		return nil // it was thrown away, and with it what the commit stands on
	}
	if err := m.install(ctx, bytes.NewReader(pack)); err != nil {
		return fmt.Errorf("keep commit %s: %w", commit, err)
	}
	return m.mark(commit, "")
}
