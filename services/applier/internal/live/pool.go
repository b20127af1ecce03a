package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Place names the object of our own cluster that describes another one.
type Place struct{ Kind, Namespace, Name, Key string }

// Cluster is what stands in a Place.
type Cluster struct {
	// Digest changes with the description.
	Digest string
	// Config makes a client's configuration of it. That may ask others, who may be slow.
	Config func() (*rest.Config, error)
}

// ErrNoCluster says that a Place describes no cluster any more.
var ErrNoCluster = errors.New("no cluster is described there")

// PoolOptions of a Pool.
type PoolOptions struct {
	// Find reads what stands in a place.
	Find func(context.Context, Place) (Cluster, error)
	// Make makes the watcher of one cluster, and names the cluster.
	Make func(*rest.Config) (w *Watcher, cluster string, err error)
	// Most is how many places are watched at once; zero for no limit.
	Most int
	Log  *slog.Logger
}

// Pool has one watcher for each place that somebody names, for as long as somebody does. Each place is served on its own, so that a
// cluster that is away holds up no other. Beyond the limit those have none that the fewest owners name. It is safe for concurrent use.
type Pool struct {
	options PoolOptions

	mu     sync.Mutex
	places map[Place]*served
	owners map[types.NamespacedName]Place
	named  int           // places so far
	stale  chan struct{} // which places are to be served may be others
}

// served is one place.
type served struct {
	number    int // of the places before it
	interests map[types.NamespacedName]Interest
	stop      context.CancelFunc
	stale     chan struct{} // the description may be another
	watcher   *Watcher      // nil as long as there is none
	cluster   string        // that it watches
	rests     bool          // it was told that there is no room for it
}

// NewPool makes a pool; Run starts it.
func NewPool(o PoolOptions) *Pool {
	return &Pool{options: o, places: map[Place]*served{}, owners: map[types.NamespacedName]Place{}, stale: make(chan struct{}, 1)}
}

// Follow sets what is followed for an owner, in the cluster that a place describes.
func (p *Pool) Follow(owner types.NamespacedName, at Place, i Interest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.owners[owner]; ok && was != at {
		p.leave(owner)
	}
	s := p.places[at]
	if s == nil {
		s = &served{number: p.named, interests: map[types.NamespacedName]Interest{}, stale: make(chan struct{}, 1)}
		p.places[at] = s
		p.named++
	}
	if _, known := s.interests[owner]; !known {
		signal(p.stale)
	}
	p.owners[owner], s.interests[owner] = at, i
	if s.watcher != nil {
		s.watcher.Follow(owner, i)
	}
}

// Forget ends following for an owner.
func (p *Pool) Forget(owner types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(owner)
}

// leave ends following, and serving a place that nobody else names. The caller holds the lock.
func (p *Pool) leave(owner types.NamespacedName) {
	at, ok := p.owners[owner]
	if !ok {
		return
	}
	s := p.places[at]
	delete(p.owners, owner)
	delete(s.interests, owner)
	signal(p.stale)
	if s.watcher != nil {
		s.watcher.Forget(owner)
	}
	if len(s.interests) == 0 {
		delete(p.places, at)
		if s.stop != nil {
			s.stop()
		}
	}
}

// Of returns the watcher that follows an owner in a cluster; nil where there is none.
func (p *Pool) Of(owner types.NamespacedName, cluster string) *Watcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.places[p.owners[owner]]; s != nil && s.watcher != nil && s.cluster == cluster {
		return s.watcher
	}
	return nil
}

// Changed has a place looked at anew.
func (p *Pool) Changed(at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.places[at]; s != nil {
		signal(s.stale)
	}
}

// signal leaves a note that somebody is to look, unless one is there already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Len is how many places are served.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.places {
		if s.stop != nil {
			n++
		}
	}
	return n
}

// Run serves places until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		p.start(ctx, &all)
		select {
		case <-ctx.Done():
			return
		case <-p.stale:
		}
	}
}

// start begins to serve the places that are to be served and are not yet, and ends serving the others.
func (p *Pool) start(ctx context.Context, all *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, at := range p.ranked() {
		s := p.places[at]
		switch {
		case p.options.Most > 0 && i >= p.options.Most:
			p.rest(at, s)
		case s.stop == nil:
			var own context.Context
			own, s.stop = context.WithCancel(ctx)
			s.rests = false
			all.Go(func() { p.serve(own, at, s) })
		}
	}
}

// ranked are all places: first those that the most owners name, among equals those that are served, then those that were named first. So
// a place takes the turn of another only when it has more owners. The caller holds the lock.
func (p *Pool) ranked() []Place {
	idle := func(s *served) int {
		if s.stop == nil {
			return 1
		}
		return 0
	}
	return slices.SortedFunc(maps.Keys(p.places), func(one, other Place) int {
		a, b := p.places[one], p.places[other]
		return cmp.Or(cmp.Compare(len(b.interests), len(a.interests)), cmp.Compare(idle(a), idle(b)), cmp.Compare(a.number, b.number))
	})
}

// rest ends serving a place until there is room for it. The caller holds the lock.
func (p *Pool) rest(at Place, s *served) {
	if s.stop != nil {
		s.stop()
		s.stop, s.watcher, s.cluster = nil, nil, ""
	}
	if !s.rests {
		s.rests = true
		p.options.Log.Warn("another cluster is not watched, as more Kustomizations name others", "kind", at.Kind, "object", at.Namespace+"/"+at.Name, "watched", p.options.Most)
	}
}

// lookAgain is how often a description is read without being told that it changed: credentials run out and are written anew.
const lookAgain = time.Minute

// serve keeps the watcher of one place running, by the description that stands there.
func (p *Pool) serve(ctx context.Context, at Place, s *served) {
	var now connection
	defer func() { now.end() }()
	pause := firstRetry
	for ctx.Err() == nil {
		next, err := p.connect(ctx, at, s, now)
		wait := lookAgain
		if err != nil && ctx.Err() == nil {
			p.options.Log.Warn("cannot watch another cluster yet, trying on", "kind", at.Kind, "object", at.Namespace+"/"+at.Name, "err", err)
			wait, pause = pause, min(2*pause, longestRetry)
		} else {
			pause = firstRetry
		}
		now = next
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.stale:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// connection is a watcher that runs, made of a description.
type connection struct {
	digest string
	stop   context.CancelFunc
	ended  chan struct{}
}

func (c *connection) end() {
	if c.stop != nil {
		c.stop()
		<-c.ended
	}
}

// connect has the watcher of a place run by what stands there now, and leaves it alone where that is the same as before.
func (p *Pool) connect(ctx context.Context, at Place, s *served, was connection) (connection, error) {
	found, err := p.options.Find(ctx, at)
	if errors.Is(err, ErrNoCluster) {
		p.use(ctx, s, nil, "")
		was.end()
		return connection{}, err
	}
	if err != nil || found.Digest == was.digest {
		return was, err
	}
	config, err := found.Config()
	if err != nil {
		return was, err
	}
	w, cluster, err := p.options.Make(config)
	if err != nil {
		return was, err
	}
	p.use(ctx, s, w, cluster)
	was.end()
	now := connection{digest: found.Digest, ended: make(chan struct{})}
	ctx, now.stop = context.WithCancel(ctx)
	go func() { defer close(now.ended); w.Run(ctx) }()
	return now, nil
}

// use has a watcher follow what is to be followed in a place, as long as that is served.
func (p *Pool) use(ctx context.Context, s *served, w *Watcher, cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	s.watcher, s.cluster = w, cluster
	if w == nil {
		return
	}
	for owner, i := range s.interests {
		w.Follow(owner, i)
	}
}
