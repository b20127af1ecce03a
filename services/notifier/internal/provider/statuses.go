package provider

import (
	"context"
	"fmt"

	"github.com/sluice-cd/sluice/libs/plain"
)

// statusHost is what a git host does for commit statuses. Its states are the host's own words.
type statusHost interface {
	// state is the host's word for a state.
	state(State) string
	// last is the newest status that the host has of a commit and context; the zero status for none.
	last(ctx context.Context, commit, name string) (status, error)
	// set sets one. m tells what it is about.
	set(ctx context.Context, commit string, s status, m Message) error
}

// status is a commit status in a host's words.
type status struct {
	state, name, description, url string
}

// statuses sets commit statuses.
type statuses struct {
	host statusHost
	// nameLimit and textLimit are how many characters the host takes.
	nameLimit, textLimit int
}

// Send sets the status of m unless the host shows it already.
func (s *statuses) Send(ctx context.Context, m Message) (Receipt, error) {
	if m.Status == nil {
		return Receipt{}, &Refusal{Reason: "there is no commit to set a status of"}
	}
	if !isHash(m.Status.Commit) {
		return Receipt{}, &Refusal{Reason: fmt.Sprintf("%q is no full hash of a commit", plain.Line(m.Status.Commit, 70))}
	}
	wanted := status{
		state: s.host.state(m.Status.State), name: plain.Line(m.Status.Context, s.nameLimit), description: plain.Line(m.Status.Description, s.textLimit),
		url: webPage(m.Status.TargetURL),
	}
	known, err := s.host.last(ctx, m.Status.Commit, wanted.name)
	if err != nil {
		return Receipt{}, fmt.Errorf("look up the status of commit %s: %w", m.Status.Commit, err)
	}
	if known.state == wanted.state && known.description == wanted.description {
		return Receipt{}, nil
	}
	if err := s.host.set(ctx, m.Status.Commit, wanted, m); err != nil {
		return Receipt{}, fmt.Errorf("set the status of commit %s: %w", m.Status.Commit, err)
	}
	return Receipt{}, nil
}

// statusTraits are those of all senders of commit statuses.
var statusTraits = Traits{CommitStatus: true, Parallel: manyAtOnce}

// isHash reports whether text is a full SHA-1 or SHA-256 in hexadecimal.
func isHash(text string) bool {
	if len(text) != 40 && len(text) != 64 {
		return false
	}
	for _, r := range text {
		if !('0' <= r && r <= '9' || 'a' <= r && r <= 'f') {
			return false
		}
	}
	return true
}

// webPage is the address of a web page, or nothing.
func webPage(address string) string {
	l, ok := Link{URL: address}.safe()
	if !ok {
		return ""
	}
	return l.URL
}
