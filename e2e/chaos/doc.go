// Package chaos breaks all that an installation of Sluice stands on, at random from a seed, while commits are pushed, and holds that
// everything gets to the last commit by itself, never back to an older one, and never in two hands at once. It is a test:
// `make chaos` runs it for long and writes a report, `make test` a short one.
package chaos
