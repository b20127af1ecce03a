package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// fault is one way in which something fails.
type fault struct {
	name   string
	target string // what fails: two faults at once are of different targets
	// begin makes it fail; what it returns mends it. It has numbers of its own.
	begin func(ctx context.Context, rng *rand.Rand) (mend func() error, err error)
	// rewinds says that the git server itself goes back: objects may follow it.
	rewinds bool
}

// faults are all that the installation can be made to suffer.
func (r *run) faults() []fault {
	all := append(r.replicaFaults(), r.busFaults()...)
	all = append(all, r.apiFaults()...)
	all = append(all, r.gitFaults()...)
	return append(all, r.diskFaults()...)
}

// switched is a fault that begins and ends with a call each.
func switched(on func(*rand.Rand) error, off func() error) func(context.Context, *rand.Rand) (func() error, error) {
	return func(_ context.Context, rng *rand.Rand) (func() error, error) { return off, on(rng) }
}

// lasting is a fault that goes on by itself until it is to end.
func lasting(during func(ctx context.Context, rng *rand.Rand) error) func(context.Context, *rand.Rand) (func() error, error) {
	return func(ctx context.Context, rng *rand.Rand) (func() error, error) {
		ctx, cancel := context.WithCancel(ctx)
		var err error
		var done sync.WaitGroup
		done.Go(func() { err = during(ctx, rng) })
		return func() error { cancel(); done.Wait(); return err }, nil
	}
}

func (r *run) replicaFaults() []fault {
	return []fault{
		{name: "replicas killed", target: "replicas", begin: lasting(r.killReplicas)},
		{name: "replica frozen", target: "replicas", begin: lasting(r.freezeReplica)},
	}
}

func (r *run) killReplicas(ctx context.Context, rng *rand.Rand) error {
	for ctx.Err() == nil {
		running := r.env.Replicas("")
		victim := running[rng.IntN(len(running))]
		r.env.AwaitRun(ctx, victim, time.Second)
		harness.Pause(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
		r.expectEnd(victim)
		r.env.KillReplica(victim)
		r.kills++
		if err := r.addReplica(victim.Service); err != nil {
			return err
		}
		harness.Pause(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
	}
	return nil
}

// freezeReplica freezes one replica for longer than its locks last.
func (r *run) freezeReplica(_ context.Context, rng *rand.Rand) error {
	running := r.env.Replicas("")
	victim := running[rng.IntN(len(running))]
	r.env.AwaitRun(r.t.Context(), victim, time.Second)
	return r.env.FreezeReplica(r.t.Context(), victim, lockTime+time.Second+time.Duration(rng.IntN(3000))*time.Millisecond)
}

// busWiped is the fault after which nothing is known of what was to be told.
const busWiped = "bus wiped"

func (r *run) busFaults() []fault {
	e := r.env
	fronts := func(do func(*harness.Proxy)) error {
		for _, p := range e.BusFronts {
			do(p)
		}
		return nil
	}
	pass := func() error { return fronts((*harness.Proxy).Pass) }
	one := func(rng *rand.Rand) *harness.Proxy { return e.BusFronts[rng.IntN(len(e.BusFronts))] }
	start := func() error { return e.StartBus() }
	bus := []fault{
		{name: "bus frozen", begin: switched(func(*rand.Rand) error { return e.Bus().Pause() }, func() error { return e.Bus().Resume() })},
		{name: "bus killed", begin: switched(func(*rand.Rand) error { return e.Bus().Kill() }, start)},
		{name: "bus stopped", begin: switched(func(*rand.Rand) error { return e.Bus().Stop(10 * time.Second) }, start)},
		{name: busWiped, begin: switched(func(*rand.Rand) error { return errors.Join(e.Bus().Kill(), e.WipeBus()) }, start)},
		{name: "bus cut off", begin: switched(func(*rand.Rand) error { return fronts((*harness.Proxy).Cut) }, pass)},
		{name: "bus cut off from half the replicas", begin: switched(func(rng *rand.Rand) error { one(rng).Cut(); return nil }, pass)},
		{name: "bus silent to half the replicas", begin: switched(func(rng *rand.Rand) error { one(rng).Mute(); return nil }, pass)},
		{name: "bus silent to all", begin: switched(func(*rand.Rand) error { return fronts((*harness.Proxy).Mute) }, pass)},
		{name: "bus slow", begin: switched(func(rng *rand.Rand) error {
			delay := time.Duration(20+rng.IntN(80)) * time.Millisecond
			return fronts(func(p *harness.Proxy) { p.Slow(delay) })
		}, pass)},
	}
	return aimed("bus", bus)
}

func aimed(target string, faults []fault) []fault {
	for i := range faults {
		faults[i].target = target
	}
	return faults
}

func (r *run) apiFaults() []fault {
	front, plane := r.env.API, r.env.Plane
	answer := func(f http.HandlerFunc) func(context.Context, *rand.Rand) (func() error, error) {
		return switched(func(*rand.Rand) error { front.SetFault(f); return nil }, func() error { front.SetFault(nil); return nil })
	}
	pass := func() error { front.Proxy.Pass(); return nil }
	return aimed("API server", []fault{
		{name: "API server gone", begin: switched(func(*rand.Rand) error { front.Proxy.Cut(); return plane.StopAPIServer() }, func() error {
			err := plane.StartAPIServer(r.t.Context())
			front.Proxy.Pass()
			return err
		})},
		{name: "API server frozen", begin: switched(func(*rand.Rand) error { return plane.PauseAPIServer() }, plane.ResumeAPIServer)},
		{name: "API server cut off", begin: switched(func(*rand.Rand) error { front.Proxy.Cut(); return nil }, pass)},
		{name: "API server silent", begin: switched(func(*rand.Rand) error { front.Proxy.Mute(); return nil }, pass)},
		{name: "API server slow", begin: answer(func(_ http.ResponseWriter, req *http.Request) { harness.Pause(req.Context(), 300*time.Millisecond) })},
		{name: "API server answers 503", begin: answer(refuse(http.StatusServiceUnavailable, ""))},
		{name: "API server answers 429", begin: answer(refuse(http.StatusTooManyRequests, "1"))},
		{name: "API server answers 500 now and then", begin: answer(everyOther(refuse(http.StatusInternalServerError, "")))},
	})
}

func refuse(status int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, http.StatusText(status), status)
	}
}

// everyOther lets a fault have every other request.
func everyOther(f http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		n++
		hit := n%2 == 0
		mu.Unlock()
		if hit {
			f(w, req)
		}
	}
}

func (r *run) gitFaults() []fault {
	git := r.env.Git
	mend := func() error { git.SetFault(nil); return nil }
	set := func(f gittest.Fault) func(context.Context, *rand.Rand) (func() error, error) {
		return switched(func(*rand.Rand) error { git.SetFault(f); return nil }, mend)
	}
	old := func(behind int) func(context.Context, *rand.Rand) (func() error, error) {
		return func(ctx context.Context, _ *rand.Rand) (func() error, error) {
			r.fleet.pushing.Lock() // a push that is seen before the fault would be gone with it
			defer r.fleet.pushing.Unlock()
			f, err := git.OldHead(ctx, behind)
			if err == nil {
				git.SetFault(f)
			}
			return mend, err
		}
	}
	return aimed("git server", []fault{
		{name: "git server hangs in a pack", begin: set(gittest.HangMidPack)},
		{name: "git server answers 500", begin: set(gittest.AnswerStatus(http.StatusInternalServerError))},
		{name: "git server lags", begin: old(0)},
		{name: "git server goes back", begin: old(3), rewinds: true},
	})
}

func (r *run) diskFaults() []fault {
	e := r.env
	if e.BusDisk == nil {
		return nil
	}
	return []fault{
		{name: "disk of the bus full", target: "bus", begin: switched(func(*rand.Rand) error { return e.BusDisk.Fill() }, e.BusDisk.Free)},
		{name: "disk of git-watcher full", target: "disk", begin: switched(func(*rand.Rand) error { return e.MirrorDisk.Fill() }, e.MirrorDisk.Free)},
	}
}

// addReplica starts one more replica of a service.
func (r *run) addReplica(service string) error {
	replica, err := r.env.StartReplica(service)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicas = append(r.replicas, replica)
	return nil
}

// expectEnd notes that a replica is about to end by our hands.
func (r *run) expectEnd(replica *localrun.Replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[replica.Name] = true
}
