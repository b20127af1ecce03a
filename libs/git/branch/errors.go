package branch

import (
	"errors"
	"fmt"

	"github.com/sluice-cd/sluice/libs/git"
)

// Kinds of failure beside those of package git, of which ErrAuthentication,
// ErrNotFound, ErrUnreachable, ErrReadOnly, ErrProtected, ErrDeclined, ErrRefused,
// ErrOptions and ErrRaceLost come from here, too.
var (
	// ErrInvalid: a path, message, author, ref or refspec cannot be used as it is.
	ErrInvalid = errors.New("invalid")
	// ErrUnchanged: the files already have the content they are to get.
	ErrUnchanged = errors.New("nothing changes")
	// ErrRewind: the push would take commits out of a branch. It was not tried.
	ErrRewind = errors.New("refused, as it would rewrite the branch")
)

// PartialError says that a push to two refs did one half of it: the branch has the
// commit, and the ref of the refspec has not. Branch.Bring does the other half.
type PartialError struct {
	Branch, Ref, Commit string
	cause               error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%s has commit %s, but %s does not get it: %v", e.Branch, e.Commit, e.Ref, e.cause)
}

// Unwrap is why.
func (e *PartialError) Unwrap() error { return e.cause }

func isPartial(err error) bool {
	var partial *PartialError
	return errors.As(err, &partial)
}

// raceLost reports whether another try has a chance.
func raceLost(err error) bool { return errors.Is(err, git.ErrRaceLost) }
