// Package hintsv1 holds what webhook-receiver passes on of calls from outside.
// It is generated from proto/sluice/hints/v1/hints.proto, where every message
// is explained.
package hintsv1
