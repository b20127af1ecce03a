package handler

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// turns lets some policies look up much at once, each to its end, and sends the others away for a while: so slots stay free for policies that
// know what they need, and the first policies choose long before all can.
type turns struct {
	free chan struct{}

	mu   sync.Mutex
	away map[types.NamespacedName]time.Time // who was sent away, and until when
}

// newTurns leaves a quarter of the slots to the others.
func newTurns(slots int) *turns {
	return &turns{free: make(chan struct{}, max(1, slots*3/4)), away: map[types.NamespacedName]time.Time{}}
}

// comeBacks is how many of those who were sent away may look again in a second.
const comeBacks = 10

// take takes a turn, or says how long to stay away.
func (t *turns) take(who types.NamespacedName, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.away, who)
	select {
	case t.free <- struct{}{}:
		return 0
	default:
	}
	for key, until := range t.away {
		if now.Sub(until) > time.Minute { // it went on elsewhere
			delete(t.away, key)
		}
	}
	wait = max(time.Second, time.Duration(len(t.away))*time.Second/comeBacks)
	t.away[who] = now.Add(wait)
	return wait
}

// giveBack ends a turn.
func (t *turns) giveBack() { <-t.free }
