package main

import (
	"context"
	"time"
)

// catalog is a registry whose images are scanned.
type catalog interface {
	// title says in what is printed which registry it is.
	title() string
	host() string
	// reset forgets what it was asked.
	reset(ctx context.Context) error
	// firstAsked is when a list of tags was first asked for since reset; zero if none was.
	firstAsked() time.Time
	// asked is how often lists of tags were asked for since reset, and anything else.
	asked(ctx context.Context) (lists, others int64, err error)
}
