package wire

import "errors"

// The kinds of failure that callers tell apart. Everything else is a passing
// fault of the network or the server.
var (
	// ErrAuthentication: the server refused the credentials or asked for some.
	ErrAuthentication = errors.New("authentication failed")
	// ErrHostKey: the SSH host is not the one that known_hosts names.
	ErrHostKey = errors.New("host key refused")
	// ErrNotFound: no such repository, ref or commit.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge: an answer is over its limit.
	ErrTooLarge = errors.New("over the limit")
	// ErrRedirect: the server pointed to a place where we do not follow.
	ErrRedirect = errors.New("redirect refused")
)
