package e2e

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/localrun"
)

var (
	killFor   = flag.Duration("kill-for", 40*time.Second, "how long TestKillAnyReplica kills")
	freezeFor = flag.Duration("freeze-for", 30*time.Second, "how long TestFreezeAnyReplica freezes")
)

const (
	lockTime  = 6 * time.Second // how long a stage's lock outlives its holder
	recovery  = 90 * time.Second
	pushEvery = 250 * time.Millisecond
)

// TestKillAnyReplica kills replicas of all services at any moment, under load: every commit's end state is reached, no object is
// worked on by two replicas at once, and nothing older overwrites something newer.
func TestKillAnyReplica(t *testing.T) {
	duration := *killFor
	if testing.Short() {
		duration = min(duration, 10*time.Second)
	}
	rng := random(t)
	e := world.Start(t, harness.Options{Replicas: 2})
	f := newFleet(t, e, 4, 5)
	stop := f.load(t, rng, pushEvery)

	kills := map[string]int{}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		harness.Pause(t.Context(), time.Duration(rng.IntN(1500))*time.Millisecond) // replicas are killed while they start, too
		running := e.Replicas("")
		victim := running[rng.IntN(len(running))]
		if rng.IntN(2) == 0 {
			strike(t, e, rng, victim)
		}
		e.KillReplica(victim)
		e.AddReplica(victim.Service)
		kills[victim.Service]++
	}
	pushes := stop()
	f.pushAll(t)
	calm := time.Now()
	f.awaitLast(t, recovery)
	t.Logf("%d pushes, kills: %v; all at the last commit %s after the end", pushes, kills, time.Since(calm))

	f.wantNoRegressions(t)
	wantInterrupted(t, e.Runs(t))
}

// strike returns when a replica is likely to be in the midst of a run: a little after it began one.
func strike(t *testing.T, e *harness.Env, rng *rand.Rand, victim *localrun.Replica) {
	t.Helper()
	e.AwaitRun(t.Context(), victim, 2*time.Second)
	harness.Pause(t.Context(), time.Duration(rng.IntN(30))*time.Millisecond)
}

// wantInterrupted holds that the test did what it says, and that no object was worked on twice at once.
func wantInterrupted(t *testing.T, runs []harness.Run) {
	t.Helper()
	cut := harness.CountRuns(runs, func(r harness.Run) string {
		if r.Cut {
			return r.Stage
		}
		return ""
	})
	t.Logf("%d runs, of which did not end by themselves: %v", len(runs), cut)
	if len(cut) == 0 && !testing.Short() {
		t.Error("no run was interrupted: this proves nothing")
	}
	wantOneHand(t, runs)
}

// wantOneHand holds that no two runs of the same object and stage were under way at the same time.
func wantOneHand(t *testing.T, runs []harness.Run) {
	t.Helper()
	for _, overlap := range harness.Overlaps(runs) {
		t.Errorf("worked on twice at once: %s", overlap)
	}
}

// TestFreezeAnyReplica stops replicas in their tracks for longer than their locks last, under load. When such a replica goes on it
// may believe for a moment that its run is still its own; that shows in no object and no status.
func TestFreezeAnyReplica(t *testing.T) {
	long(t)
	rng := random(t)
	e := world.Start(t, harness.Options{Replicas: 2})
	f := newFleet(t, e, 4, 5)
	stop := f.load(t, rng, pushEvery)

	end := time.Now().Add(*freezeFor)
	var freezing sync.WaitGroup
	for _, service := range localrun.Services {
		own, replicas := rand.New(rand.NewPCG(rng.Uint64(), 0)), e.Replicas(service)
		freezing.Go(func() {
			for time.Now().Before(end) {
				victim := replicas[own.IntN(len(replicas))]
				strike(t, e, own, victim)
				if err := e.FreezeReplica(t.Context(), victim, lockTime+time.Second+time.Duration(own.IntN(1000))*time.Millisecond); err != nil {
					t.Error(err)
				}
			}
		})
	}
	freezing.Wait()
	pushes := stop()
	f.pushAll(t)
	calm := time.Now()
	f.awaitLast(t, recovery)
	t.Logf("%d pushes; all at the last commit %s after the end", pushes, time.Since(calm))

	f.wantNoRegressions(t)
	// A lock is renewed each third of its time, so half of it is surely left when its holder freezes.
	wantInterrupted(t, e.EndAtFreezes(e.Runs(t), lockTime/2))
}
