package wire

import (
	"context"
	"errors"
	"io"
	"net"
)

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
	// ErrUnreachable: there is no connection, or it broke, or the server says
	// that it cannot answer now.
	ErrUnreachable = errors.New("the server cannot be reached")
	// ErrRedirect: the server pointed to a place where we do not follow.
	ErrRedirect = errors.New("redirect refused")
)

// outage is an ErrUnreachable that says no more than its cause.
type outage struct{ error }

func (o *outage) Unwrap() error { return o.error }

func (o *outage) Is(target error) bool { return target == ErrUnreachable }

// unreachable marks faults of the network. That a caller gave up is none.
func unreachable(ctx context.Context, err error) error {
	var network net.Error
	if ctx.Err() != nil || errors.Is(err, ErrRedirect) {
		return err
	}
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &outage{err}
	}
	return err
}
