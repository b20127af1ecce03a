package stage

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait after the n-th failure in a row: Base, doubled each time, at most Max, with jitter.
type Backoff struct {
	Base time.Duration // default 1s
	Max  time.Duration // default 15min
}

// Delay is the time to wait after so many failures in a row.
func (b Backoff) Delay(failures int) time.Duration {
	d := b.Base
	for i := 1; i < failures && d < b.Max; i++ {
		d *= 2
	}
	return jitter(min(d, b.Max), 0.2)
}

// jitter moves d by up to the given share in either direction, so that what was armed together does not stay together.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*rand.Float64()-1)))
}

// partCost is the share of a run in the pace of an object that one counts for which got forward and goes on: a generous limit, for work that
// never ends.
const partCost = 0.01

// Pace limits how often one object runs when triggers never stop: Burst runs at once, then one each Every.
type Pace struct {
	Burst int           // default 4
	Every time.Duration // default 2s
}

// budget is the token bucket of one object, kept in its record.
type budget struct {
	Tokens float64   `json:"tokens"`
	At     time.Time `json:"at"`
}

// take uses one run of the budget at a time, or says how long to wait for it.
func (b *budget) take(p Pace, now time.Time) (wait time.Duration) {
	if b.At.IsZero() {
		b.Tokens = float64(p.Burst)
	} else if gone := now.Sub(b.At); gone > 0 {
		b.Tokens = min(float64(p.Burst), b.Tokens+float64(gone)/float64(p.Every))
	}
	b.At = now
	if b.Tokens < 1 {
		return time.Duration((1 - b.Tokens) * float64(p.Every))
	}
	b.Tokens--
	return 0
}
