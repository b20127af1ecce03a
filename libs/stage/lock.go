package stage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
)

// errBusy says that somebody else holds the lock.
var errBusy = errors.New("object is being worked on")

// locks hands out the locks of one stage. A lock is a key of the state bucket: its value is the holder's name, with a time to
// live; an empty value is a free lock. Revisions only grow, so the revision of the lock is the fencing token.
type locks struct {
	bus    *bus.Conn
	stage  string
	holder string
	ttl    time.Duration

	mu   sync.Mutex
	free map[types.NamespacedName]uint64 // revisions at which this replica freed locks: saves a read
}

func newLocks(b *bus.Conn, stage, holder string, ttl time.Duration) *locks {
	return &locks{bus: b, stage: stage, holder: holder, ttl: ttl, free: map[types.NamespacedName]uint64{}}
}

// lock is one held lock. Its owner renews it; whoever writes under it names its latest revision.
type lock struct {
	locks *locks
	key   string
	name  types.NamespacedName
	// afterCrash says that the holder before did not free the lock: it died or was cut off.
	afterCrash bool
	// gone says that the object does not exist any more: the key shall vanish, too.
	gone bool

	mu       sync.Mutex // serialises renewals and fenced writes: each needs the latest revision
	revision uint64
	deadline time.Time // by the monotonic clock; the server's own deadline is later
	lost     bool
}

// acquire takes the lock of an object or returns errBusy.
func (l *locks) acquire(ctx context.Context, name types.NamespacedName) (*lock, error) {
	held := &lock{locks: l, key: bus.LockKey(l.stage, name), name: name}
	if revision, known := l.takeFree(name); known {
		err := held.claim(ctx, revision)
		if !errors.Is(err, bus.ErrConflict) {
			return held, err
		}
	}
	entry, err := l.bus.GetState(ctx, held.key)
	if err != nil {
		return nil, err
	}
	if len(entry.Value) > 0 {
		return nil, errBusy
	}
	held.afterCrash = entry.Expired
	err = held.claim(ctx, entry.Revision)
	if errors.Is(err, bus.ErrConflict) {
		return nil, errBusy
	}
	return held, err
}

func (l *locks) takeFree(name types.NamespacedName) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	revision, ok := l.free[name]
	delete(l.free, name)
	return revision, ok
}

func (l *locks) noteFree(name types.NamespacedName, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free[name] = revision
}

// forgetFree is for when the bus was wiped: it counts revisions anew, and one that was free may be held.
func (l *locks) forgetFree() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.free)
}

// claim writes our name over a revision and notes until when that holds.
func (k *lock) claim(ctx context.Context, revision uint64) error {
	asked := time.Now()
	rev, err := k.locks.bus.PutState(ctx, k.key, []byte(k.locks.holder), k.locks.ttl, bus.Condition{Key: k.key, Revision: revision})
	if err != nil {
		return err
	}
	k.revision, k.deadline = rev, asked.Add(k.locks.ttl)
	return nil
}

// renew extends the lock by its time to live. ErrLockLost when somebody else has it.
func (k *lock) renew(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost {
		return ErrLockLost
	}
	err := k.claim(ctx, k.revision)
	if errors.Is(err, bus.ErrConflict) && k.adopt(ctx) {
		err = k.claim(ctx, k.revision)
	}
	if errors.Is(err, bus.ErrConflict) {
		k.lost = true
		return ErrLockLost
	}
	return err
}

// adopt looks whether the lock is ours under another revision: a renewal of which we never got the answer.
func (k *lock) adopt(ctx context.Context) bool {
	entry, err := k.locks.bus.GetState(ctx, k.key)
	if err != nil || string(entry.Value) != k.locks.holder {
		return false
	}
	k.revision = entry.Revision
	return true
}

// guard says whether the lock is still surely ours.
func (k *lock) guard() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost || !time.Now().Before(k.deadline) {
		return ErrLockLost
	}
	return nil
}

// put writes a key of the state bucket if the lock is still ours: the server looks at that, not we.
func (k *lock) put(ctx context.Context, key string, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err := k.locks.bus.PutState(ctx, key, value, 0, bus.Condition{Key: k.key, Revision: k.revision})
	if errors.Is(err, bus.ErrConflict) {
		k.lost = true
		return fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return err
}

// release frees the lock if it is still ours. A lock that cannot be freed expires.
func (k *lock) release(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost {
		return
	}
	k.lost = true
	var ttl time.Duration
	if k.gone {
		ttl = time.Second
	}
	rev, err := k.locks.bus.PutState(ctx, k.key, nil, ttl, bus.Condition{Key: k.key, Revision: k.revision})
	if err == nil && !k.gone {
		k.locks.noteFree(k.name, rev)
	}
}

// untilExpiry is the time that is left.
func (k *lock) untilExpiry() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.deadline)
}
