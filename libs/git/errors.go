package git

import (
	"errors"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// The kinds of failure, for errors.Is. Any other error is a passing fault of the
// network, the server or the local disk.
var (
	// ErrURLInvalid: spec.url cannot be used as it is.
	ErrURLInvalid = errors.New("invalid URL")
	// ErrRefInvalid: spec.ref cannot be used as it is.
	ErrRefInvalid = errors.New("invalid reference")
	// ErrAuthentication: credentials are missing, malformed or refused.
	ErrAuthentication = wire.ErrAuthentication
	// ErrHostKey: the SSH host is not the one in known_hosts.
	ErrHostKey = wire.ErrHostKey
	// ErrNotFound: there is no such repository, ref, tag in range, commit or directory.
	ErrNotFound = wire.ErrNotFound
	// ErrEmpty: the repository has no commits.
	ErrEmpty = errors.New("git repository is empty")
	// ErrTooLarge: an answer, a pack, a tree or a file is over its limit.
	ErrTooLarge = wire.ErrTooLarge
	// ErrInvalidTree: the commit holds what no checkout would accept.
	ErrInvalidTree = errors.New("invalid tree")
	// ErrRedirect: the server pointed to a place where we do not follow.
	ErrRedirect = wire.ErrRedirect
)

// errDamaged marks what a fresh mirror heals.
var errDamaged = errors.New("damaged mirror")

// reasonEmpty is Flux's reason for a repository without commits.
const reasonEmpty = "EmptyGitRepository"

// Reason is the reason, in the words of the source API, that a condition gives for err.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrURLInvalid):
		return sourcev1.URLInvalidReason
	case errors.Is(err, ErrAuthentication), errors.Is(err, ErrHostKey):
		return sourcev1.AuthenticationFailedReason
	case errors.Is(err, ErrEmpty):
		return reasonEmpty
	}
	return sourcev1.GitOperationFailedReason
}

// Stalled reports whether trying again is of no use until the object's spec changes.
func Stalled(err error) bool {
	return errors.Is(err, ErrURLInvalid) || errors.Is(err, ErrRefInvalid)
}
