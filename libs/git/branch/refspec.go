package branch

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Destination returns the full name of the ref that a refspec pushes to. A refspec
// with a plus, with an empty side, or with a pattern is ErrInvalid: they force,
// delete, or do either to many. The source side may be anything that git would
// take; what is pushed is always the commit that was made.
func Destination(refspec string) (string, error) {
	source, destination, ok := strings.Cut(refspec, ":")
	switch {
	case strings.HasPrefix(source, "+"):
		return "", fmt.Errorf("%w refspec %q: branches are not overwritten", ErrInvalid, refspec)
	case source == "" || ok && destination == "":
		return "", fmt.Errorf("%w refspec %q: a side is empty, and branches are not deleted", ErrInvalid, refspec)
	case !ok:
		destination = source
	}
	if strings.ContainsAny(source, "+*^~? \t\n\\") || strings.HasPrefix(source, "-") {
		return "", fmt.Errorf("%w refspec %q: malformed source", ErrInvalid, refspec)
	}
	if !strings.HasPrefix(destination, "refs/") {
		return "", fmt.Errorf("%w refspec %q: the destination must be a full name, as refs/heads/main", ErrInvalid, refspec)
	}
	if err := checkRef(destination); err != nil {
		return "", fmt.Errorf("%w refspec %q: malformed destination", ErrInvalid, refspec)
	}
	return destination, nil
}

func checkRef(name string) error {
	short := strings.TrimPrefix(name, headPrefix)
	if short == "" || strings.HasPrefix(short, "-") || strings.ContainsAny(name, "+*") || plumbing.ReferenceName(name).Validate() != nil {
		return fmt.Errorf("%w: %q is no name of a branch", ErrInvalid, short)
	}
	return nil
}
