// Package remote fetches what kustomizations name by address: directories of git repositories, and files behind HTTP.
//
// Addresses come from whoever can write to a source. So a fetch runs no program, has no credentials, connects to no address that only
// this machine reaches, is bounded in time and bytes, and takes nobody's worker: who wants something is told that it is under way, and
// woken when it is there.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/guard"
	"github.com/sluice-cd/sluice/libs/tempdir"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
)

// Options configure a Fetcher.
type Options struct {
	// Allow are addresses of this machine or network that may be connected to all the same.
	Allow []netip.Prefix
	// Wake is told who waited for a fetch that ended.
	Wake func(ctx context.Context, who types.NamespacedName)
	Log  *slog.Logger
	// KeptBytes bounds the trees and files in memory; zero means 128 MiB.
	KeptBytes int64
	// DiskBytes bounds the repositories on disk, but for those that are being fetched; zero means 2 GiB.
	DiskBytes int64
}

// Bounds of all fetches.
const (
	atOnce      = 16
	atOnceHost  = 4 // from one host, so that a slow one leaves others their turn
	mostEntries = 512
	keptBytes   = 128 << 20
	diskBytes   = 2 << 30
	// trustFailure is how long a failure is not tried again.
	trustFailure = 5 * time.Second
	unusedMirror = time.Hour
)

// ErrUnderWay says that something is being fetched; who wanted it is woken at the end.
var ErrUnderWay = errors.New("remote bases are being fetched")

// Error says why an address gives nothing.
type Error struct {
	Address render.Address
	cause   error
}

func (e *Error) Error() string { return fmt.Sprintf("fetch %q: %v", e.Address, e.cause) }

func (e *Error) Unwrap() error { return e.cause }

// waiter is a Kustomization.
type waiter = types.NamespacedName

// Fetcher fetches, and keeps what it fetched. It is safe for concurrent use.
type Fetcher struct {
	options Options
	guard   guard.Guard
	client  *http.Client
	mirrors *git.Mirrors
	dir     *tempdir.Dir
	todo    chan *entry

	mu      sync.Mutex
	entries map[render.Address]*entry
	hosts   map[string]chan struct{}
}

// entry is what is known of an address. The fetcher's lock guards it.
type entry struct {
	address render.Address
	target  target
	remote  render.Remote
	err     error
	at      time.Time // when it was last looked at; zero for never
	used    time.Time
	running bool
	waiting map[waiter]bool
	owed    map[waiter]bool // those who were woken for a failure, and did not ask since
}

// New makes a fetcher with its mirrors in a new directory; Run starts it.
func New(o Options) (*Fetcher, error) {
	if o.KeptBytes == 0 {
		o.KeptBytes = keptBytes
	}
	if o.DiskBytes == 0 {
		o.DiskBytes = diskBytes
	}
	dir, err := tempdir.New("sluice-remote-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for remote bases: %w", err)
	}
	g := guard.Guard{Allow: o.Allow}
	mirrors, err := git.NewMirrors(git.Options{
		Dir: filepath.Join(dir.Path, "mirrors"), Limits: limits, CacheBytes: 8 << 20, SubmoduleHosts: []string{"*"}, Control: g.Control, Logger: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("keep repositories of remote bases: %w", err)
	}
	return &Fetcher{
		options: o, guard: g, client: newClient(g), mirrors: mirrors, dir: dir, todo: make(chan *entry, mostEntries),
		entries: map[render.Address]*entry{}, hosts: map[string]chan struct{}{},
	}, nil
}

// Run fetches until ctx ends, and removes the mirrors then.
func (f *Fetcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() { f.work(ctx) })
	}
	all.Go(func() { f.mirrors.Tidy(ctx, unusedMirror) })
	all.Wait()
	_ = f.mirrors.Close()
	if err := f.dir.Remove(); err != nil {
		f.options.Log.Warn("cannot remove repositories of remote bases", "err", err)
	}
}

func (f *Fetcher) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.todo:
			f.serve(ctx, e)
		}
	}
}

// Want returns what is behind addresses, not older than fresh. What is missing or older is fetched meanwhile: ErrUnderWay. *Error says what
// gives nothing.
func (f *Fetcher) Want(who types.NamespacedName, addresses []render.Address, fresh time.Duration) (map[render.Address]render.Remote, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, underWay := make(map[render.Address]render.Remote, len(addresses)), false
	for _, a := range addresses {
		e, err := f.entry(a)
		switch {
		case err != nil:
			return nil, &Error{a, err}
		case e.err != nil && (e.isFresh(fresh) || e.owed[who]):
			delete(e.owed, who)
			return nil, &Error{a, e.err}
		case e.isFresh(fresh):
			found[a] = e.remote
		case e.running:
			e.waiting[who], underWay = true, true
		default:
			if err := f.start(e, who); err != nil {
				return nil, &Error{a, err}
			}
			underWay = true
		}
	}
	if underWay {
		return nil, ErrUnderWay
	}
	return found, checkSize(found)
}

func (e *entry) isFresh(fresh time.Duration) bool {
	if e.err != nil {
		fresh = trustFailure
	}
	return !e.at.IsZero() && (time.Since(e.at) < fresh || e.err == nil && e.target.isFixed())
}

// entry finds or makes the entry of an address. The caller holds the lock.
func (f *Fetcher) entry(a render.Address) (*entry, error) {
	e := f.entries[a]
	if e == nil {
		t, err := parse(a)
		if err != nil {
			return nil, err
		}
		if !f.makeRoom() {
			return nil, errBusy
		}
		e = &entry{address: a, target: t}
		f.entries[a] = e
	}
	e.used = time.Now()
	return e, nil
}

var errBusy = errors.New("too many remote bases are being fetched")

func (f *Fetcher) start(e *entry, who types.NamespacedName) error {
	select {
	case f.todo <- e:
		e.running, e.waiting, e.owed = true, map[waiter]bool{who: true}, nil
		return nil
	default:
		return errBusy
	}
}

// serve fetches one entry and wakes who waits for it.
func (f *Fetcher) serve(ctx context.Context, e *entry) {
	turn := f.host(e.target.host())
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	default:
		f.postpone(ctx, e)
		return
	}
	remote, err := f.try(ctx, e)
	if ctx.Err() != nil {
		return
	}
	waiting := f.keep(e, remote, err)
	if e.target.repository != nil {
		f.shrink(ctx)
	}
	if err != nil {
		f.options.Log.Info("remote base not fetched", "url", e.address.String(), "err", err)
	}
	for who := range waiting {
		f.options.Wake(ctx, who)
	}
}

// postpone puts an entry behind the others, as its host has no more turns now.
func (f *Fetcher) postpone(ctx context.Context, e *entry) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
		f.todo <- e // there is room: no entry is in it twice
	}
}

// host is the turns of one host.
func (f *Fetcher) host(name string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	turn := f.hosts[name]
	if turn == nil {
		if len(f.hosts) > mostEntries {
			clear(f.hosts) // those in use end on their own
		}
		turn = make(chan struct{}, atOnceHost)
		f.hosts[name] = turn
	}
	return turn
}

var errPanic = errors.New("what was fetched cannot be read")

// try survives whatever a server sends.
func (f *Fetcher) try(ctx context.Context, e *entry) (remote render.Remote, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.options.Log.Error("fetch of a remote base panicked", "url", e.address.String(), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			remote, err = render.Remote{}, errPanic
		}
	}()
	return f.fetch(ctx, e.target)
}

// fetch gets what is behind an address.
func (f *Fetcher) fetch(ctx context.Context, t target) (render.Remote, error) {
	if t.file != nil {
		remote, err := f.download(ctx, t.file)
		if err == nil || t.repository == nil || !errors.Is(err, errNoFile) {
			return remote, err
		}
	}
	return f.clone(ctx, t.repository)
}
