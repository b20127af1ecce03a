package intake

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

// sourceOf is where a call comes from: who connected, or where that is a trusted proxy, who that says connected to it.
func sourceOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	source := at.Addr().Unmap().WithZone("")
	if len(trusted) == 0 {
		return source
	}
	// From the end: what stands before the first that is no proxy of ours, anybody may have written.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && door.In(trusted, source); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		source = hop.Unmap().WithZone("")
	}
	return source
}

// network is what counts as one source: who has one address of an IPv6 network has all.
func network(source netip.Addr) netip.Addr {
	if source.Is6() {
		if p, err := source.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return source
}

// maxSources bounds how many sources are remembered. When there are more, the budgets of all begin anew.
const maxSources = 20_000

// limiter gives each source a budget of calls.
type limiter struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	known map[netip.Addr]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, known: map[netip.Addr]*rate.Limiter{}}
}

// allow takes a call from the budget of a source, if there is one left. Zero calls per second are any number.
func (l *limiter) allow(source netip.Addr, now time.Time) bool {
	if l.rate == 0 {
		return true
	}
	key := network(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known[key]
	if known == nil {
		if len(l.known) >= maxSources {
			l.forget(now)
		}
		known = rate.NewLimiter(l.rate, l.burst)
		l.known[key] = known
	}
	return known.AllowN(now, 1)
}

// forget forgets sources whose budget is full again, and all where that is not enough.
func (l *limiter) forget(now time.Time) {
	for key, known := range l.known {
		if known.TokensAt(now) >= float64(l.burst) {
			delete(l.known, key)
		}
	}
	if len(l.known) >= maxSources {
		clear(l.known)
	}
}
