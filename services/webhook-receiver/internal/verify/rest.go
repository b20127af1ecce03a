package verify

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

var (
	// errFresh says that an issuer answered a moment ago, and is not asked again yet: what its keys did not sign is forged.
	errFresh = errors.New("asked a moment ago")
	// errFailed says that an issuer could not be asked a moment ago.
	errFailed = errors.New("failed a moment ago")
)

// rested asks each address once in a while at most: whoever sends tokens that nobody signed would have us ask an issuer each time, until it
// turns us away.
type rested struct {
	http.RoundTripper

	mu    sync.Mutex
	asked map[string]asking
}

// asking is when an address was asked, and whether it answered.
type asking struct {
	at time.Time
	ok bool
}

// RoundTrip asks, or says that it is too early.
func (t *rested) RoundTrip(r *http.Request) (*http.Response, error) {
	address := r.URL.String()
	if err := t.begin(address); err != nil {
		return nil, err
	}
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.asked[address] = asking{time.Now(), false}
	}
	return answer, err
}

func (t *rested) begin(address string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.asked[address]
	switch {
	case known && time.Since(last.at) < issuerRest && last.ok:
		return errFresh
	case known && time.Since(last.at) < issuerRest:
		return errFailed
	case len(t.asked) >= 4*maxIssuers:
		clear(t.asked)
	}
	t.asked[address] = asking{time.Now(), true}
	return nil
}
