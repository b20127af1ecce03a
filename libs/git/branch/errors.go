package branch

import (
	"errors"

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

// raceLost reports whether another try has a chance.
func raceLost(err error) bool { return errors.Is(err, git.ErrRaceLost) }
