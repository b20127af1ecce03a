package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/health"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Options of a Watcher.
type Options struct {
	Config  *rest.Config
	Mapper  meta.RESTMapper
	Manager string // the field manager that applies
	Log     *slog.Logger
	// Check looks at an owner of which an object may be another than before. It returns when to look again, zero for not.
	Check func(ctx context.Context, owner types.NamespacedName) time.Duration
}

// Interest is what an owner wants to be followed.
type Interest struct {
	// Objects are those that were applied; drift of them is followed.
	Objects inventory.Inventory
	// Healthy are those whose health is followed.
	Healthy []inventory.ID
	// Rules tells one set of rules from another; when they change, everything is looked at anew.
	Rules  string
	Ignore []apply.IgnoreRule
	Exprs  health.Expressions
}

// Watcher follows the objects of one cluster. It is safe for concurrent use.
type Watcher struct {
	options  Options
	metadata metadata.Interface
	dynamic  dynamic.Interface
	suspects *suspects

	mu        sync.Mutex
	interests map[types.NamespacedName]*followed
	watches   map[scope]*watch
	wanted    map[scope]int // how many owners need a watch
	stale     chan struct{} // what is watched is not what is wanted
}

// followed is an owner with the watches that it needs.
type followed struct {
	Interest
	scopes map[scope]struct{}
}

// scope is what one watch covers: the labelled objects of a kind, or one object for one owner.
type scope struct {
	kind   schema.GroupKind
	health bool
	single inventory.ID
	owner  types.NamespacedName
}

// NewWatcher makes a watcher; Run starts it.
func NewWatcher(o Options) (*Watcher, error) {
	config := rest.CopyConfig(o.Config)
	config.QPS, config.Burst = -1, -1
	m, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for metadata: %w", err)
	}
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for objects: %w", err)
	}
	return &Watcher{
		options: o, metadata: m, dynamic: d, suspects: newSuspects(), interests: map[types.NamespacedName]*followed{},
		watches: map[scope]*watch{}, wanted: map[scope]int{}, stale: make(chan struct{}, 1),
	}, nil
}

// Follow sets what is followed for an owner.
func (w *Watcher) Follow(owner types.NamespacedName, i Interest) {
	f := &followed{Interest: i, scopes: scopesOf(owner, i)}
	w.mu.Lock()
	was := w.interests[owner]
	w.interests[owner] = f
	changed := w.count(was, f)
	if was != nil && was.Rules != i.Rules || was == nil && i.Rules != "" {
		w.restart(f.scopes)
		changed = true
	}
	w.mu.Unlock()
	if changed {
		w.wake()
	}
	w.suspects.add(owner, debounce)
}

// count counts what an owner wants instead of what it wanted before, and says whether other watches are wanted now. The caller holds the
// lock. Either may be nil.
func (w *Watcher) count(was, is *followed) (changed bool) {
	if is != nil {
		for s := range is.scopes {
			w.wanted[s]++
			changed = changed || w.wanted[s] == 1
		}
	}
	if was != nil {
		for s := range was.scopes {
			if w.wanted[s]--; w.wanted[s] == 0 {
				delete(w.wanted, s)
				changed = true
			}
		}
	}
	return changed
}

// Forget ends following for an owner.
func (w *Watcher) Forget(owner types.NamespacedName) {
	w.mu.Lock()
	changed := w.count(w.interests[owner], nil)
	delete(w.interests, owner)
	w.mu.Unlock()
	if changed {
		w.wake()
	}
}

// Suspect has an owner looked at soon.
func (w *Watcher) Suspect(owner types.NamespacedName) { w.suspects.add(owner, debounce) }

func scopesOf(owner types.NamespacedName, i Interest) map[scope]struct{} {
	scopes := map[scope]struct{}{}
	for id := range i.Objects.All() {
		scopes[scope{kind: id.GroupKind()}] = struct{}{}
	}
	for _, id := range i.Healthy {
		scopes[healthScope(owner, i, id)] = struct{}{}
	}
	return scopes
}

// healthScope is the watch that tells of an object's health. Objects that the owner applied have its labels; others are watched one
// by one.
func healthScope(owner types.NamespacedName, i Interest, id inventory.ID) scope {
	if i.Objects.Has(id) {
		return scope{kind: id.GroupKind(), health: true}
	}
	return scope{kind: id.GroupKind(), health: true, single: id, owner: owner}
}

// restart ends watches; those that are wanted begin anew. The caller holds the lock.
func (w *Watcher) restart(scopes map[scope]struct{}) {
	for s := range scopes {
		if running := w.watches[s]; running != nil {
			running.stop()
			delete(w.watches, s)
		}
	}
}

func (w *Watcher) wake() { signal(w.stale) }

// The pauses between tries to find how a kind is served.
const (
	firstRetry   = 2 * time.Second
	longestRetry = 5 * time.Minute
)

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { w.suspects.run(ctx, w.options.Check) })
	retry := firstRetry
	for {
		again := longestRetry
		if w.align(ctx, &all) {
			retry = firstRetry
		} else {
			again, retry = retry, min(2*retry, longestRetry)
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.stale:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// align starts the watches that are missing and ends those that nobody needs. It reports whether all could be started.
func (w *Watcher) align(ctx context.Context, all *sync.WaitGroup) bool {
	complete := true
	for _, s := range w.missing() {
		mapping, err := w.options.Mapper.RESTMapping(s.kind) // may ask the cluster, which may be away: nobody waits for that
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			if !meta.IsNoMatchError(err) {
				w.options.Log.Warn("cannot watch a kind yet, trying on", "kind", s.kind.String(), "err", err)
			}
			complete = false
			continue
		}
		w.start(ctx, s, mapping, all)
	}
	return complete
}

// missing ends the watches that nobody needs, and returns those that are to be started.
func (w *Watcher) missing() []scope {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, running := range w.watches {
		if w.wanted[s] == 0 {
			running.stop()
			delete(w.watches, s)
		}
	}
	var missing []scope
	for s := range w.wanted {
		if w.watches[s] == nil {
			missing = append(missing, s)
		}
	}
	return missing
}

// start begins a watch, if it is wanted still.
func (w *Watcher) start(ctx context.Context, s scope, mapping *meta.RESTMapping, all *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted[s] == 0 || w.watches[s] != nil {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	running := w.newWatch(s, mapping, stop)
	w.watches[s] = running
	all.Go(func() { running.run(ctx) })
}

// filled has everybody looked at whom a watch concerns.
func (w *Watcher) filled(s scope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for owner, f := range w.interests {
		if _, ok := f.scopes[s]; ok {
			w.suspects.add(owner, debounce)
		}
	}
}

// Exprs returns the health expressions of an owner that is followed.
func (w *Watcher) Exprs(owner types.NamespacedName) health.Expressions {
	return w.interest(owner).Exprs
}

// interest returns what is followed for an owner.
func (w *Watcher) interest(owner types.NamespacedName) Interest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.interests[owner]; f != nil {
		return f.Interest
	}
	return Interest{}
}

func (w *Watcher) store(s scope) *store {
	w.mu.Lock()
	defer w.mu.Unlock()
	if running := w.watches[s]; running != nil {
		return running.store
	}
	return nil
}
