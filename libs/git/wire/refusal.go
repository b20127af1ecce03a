package wire

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of refusals of a push.
var (
	// ErrReadOnly: the credentials may read and not write, or the repository
	// takes no pushes at all.
	ErrReadOnly = errors.New("no permission to push")
	// ErrProtected: the branch is under a rule that keeps pushes away from it.
	ErrProtected = errors.New("the branch is protected")
	// ErrDeclined: a hook of the server declined the push.
	ErrDeclined = errors.New("declined by a hook of the server")
	// ErrRaceLost: somebody else moved the ref first, so that the push would
	// have taken their commits away. Fetch, do it again, push again.
	ErrRaceLost = errors.New("somebody else has pushed first")
	// ErrRefused: any other reason of the server.
	ErrRefused = errors.New("refused by the server")
)

// Refusal is a server's no to the update of a ref.
type Refusal struct {
	Ref string
	// Reason is the word of the protocol; Said what the server, or a hook of
	// it, wrote for the user. Both are one line without control characters.
	Reason, Said string
	kind         error
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("push to %s: %v: %s%s", clean(r.Ref), r.kind, r.Reason, explained(r.Said))
}

// Unwrap is the kind.
func (r *Refusal) Unwrap() error { return r.kind }

func explained(said string) string {
	if said = clean(said); said == "" {
		return ""
	}
	return fmt.Sprintf(" (the server says %q)", said)
}

func newRefusal(ref, reason, said string) *Refusal {
	r := &Refusal{Ref: ref, Reason: clean(reason), Said: clean(said), kind: ErrRefused}
	if r.Reason == "" {
		r.Reason = "no reason given"
	}
	lowReason, lowAll := strings.ToLower(reason), strings.ToLower(reason+" "+said)
	for _, k := range refusals {
		text := lowReason
		if k.said {
			text = lowAll
		}
		if containsAny(text, k.phrases) {
			r.kind = k.kind
			break
		}
	}
	return r
}

// refusals are the words of git, GitHub, GitLab, Gitea, Forgejo, Bitbucket, Azure
// DevOps and Gerrit, the first that fits decides. Where said is set they may
// be in what the server writes for the user, too; words for lost races may not, as
// hooks may say anything.
var refusals = []struct {
	kind    error
	said    bool
	phrases []string
}{
	{ErrRaceLost, false, []string{
		"non-fast-forward", "fetch first", "stale info", "failed to update ref", "cannot lock ref", "failed to lock", "incorrect old value",
		"reference already exists", "lock_failure", "lock failure", "atomic transaction failed", "it has moved",
	}},
	{ErrProtected, true, []string{
		"protected branch", "branch is protected", "protected ref", "repository rule violations", "gh006", "gh013", "tf402455", "through pull requests", "must use a pull request",
		"not allowed to push into this branch", "hidden ref", "prohibited by gerrit", "branch is currently checked out",
	}},
	{ErrReadOnly, true, readOnly},
	{ErrDeclined, false, []string{"hook declined", "hook rejected", "declined"}},
}

var readOnly = []string{
	"read only", "read-only", "readonly", "archived", "write access", "not authorized to write", "not allowed to push code", "permission to", "permission denied",
	"access denied", "no permission", "insufficient permission", "push access", "denied to", "forbidden", "not authorized", "unauthorized",
}

func containsAny(text string, phrases []string) bool {
	for _, phrase := range phrases {
		if strings.Contains(text, phrase) {
			return true
		}
	}
	return false
}

// pushError is what a server says instead of taking a push.
func pushError(text string) error {
	if containsAny(strings.ToLower(text), readOnly) {
		return fmt.Errorf("%w: the server says %q", ErrReadOnly, clean(text))
	}
	return remoteError(text)
}
