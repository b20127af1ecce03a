package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/localrun"
)

const (
	// fairShare is the least share of a stage's runs that each of two equal replicas does under load.
	fairShare = 0.2
	// handOver bounds how long pushes take while replicas stop in order: they give their work to the others at once.
	handOver = 5 * time.Second
	// takeOver bounds how long pushes take when replicas were killed: their locks and deliveries end by time.
	takeOver = 2*lockTime + 5*time.Second
)

// TestSecondReplica starts a second replica of each service, with no configuration, under load: both do their share. Then it ends the
// first ones, in order and by force: nothing is lost.
func TestSecondReplica(t *testing.T) {
	long(t)
	rng := random(t)
	e := world.Start(t, harness.Options{})
	loaded, quiet := newFleet(t, e, 8, 4), newFleetNamed(t, e, "quiet", 3, 2)
	stop := loaded.load(t, rng, 50*time.Millisecond)
	first := e.Replicas("")
	second := addReplicas(t, e)
	wantShares(t, e, time.Now())

	began := time.Now()
	quiet.pushAll(t)
	end(first, func(r *localrun.Replica) { _ = r.Stop(10 * time.Second) })
	quiet.awaitLast(t, handOver-time.Since(began))
	t.Logf("stopped in order: a push at that moment landed after %s", time.Since(began))
	wantCleanEnds(t, first)

	addReplicas(t, e)
	began = time.Now()
	quiet.pushAll(t)
	end(second, e.KillReplica)
	quiet.awaitLast(t, takeOver-time.Since(began))
	t.Logf("killed: a push at that moment landed after %s", time.Since(began))

	stop()
	loaded.pushAll(t)
	loaded.awaitLast(t, recovery)
	loaded.wantNoRegressions(t)
	wantOneHand(t, e.Runs(t))
}

// addReplicas starts one more replica of each service and returns them when they take work.
func addReplicas(t *testing.T, e *harness.Env) []*localrun.Replica {
	t.Helper()
	var added []*localrun.Replica
	for _, service := range localrun.Services {
		added = append(added, e.AddReplica(service))
	}
	e.AwaitReplicas()
	return added
}

// end ends replicas side by side.
func end(replicas []*localrun.Replica, how func(*localrun.Replica)) {
	var all sync.WaitGroup
	for _, r := range replicas {
		all.Go(func() { how(r) })
	}
	all.Wait()
}

func wantCleanEnds(t *testing.T, replicas []*localrun.Replica) {
	t.Helper()
	for _, r := range replicas {
		if err := r.Err(); err != nil {
			t.Errorf("%s ended by itself with: %v", r.Name, err)
		}
	}
}

// wantShares awaits that both replicas of each stage did their share of the runs since a time.
func wantShares(t *testing.T, e *harness.Env, since time.Time) {
	t.Helper()
	const enough = 40 // runs of a stage, so that a share means something
	var byStage map[string]map[string]int
	harness.Until(t, settle, "a fair share for each replica", func() error {
		byStage = map[string]map[string]int{}
		for _, run := range e.Runs(t) {
			if run.Start.After(since) {
				if byStage[run.Stage] == nil {
					byStage[run.Stage] = map[string]int{}
				}
				byStage[run.Stage][run.Replica]++
			}
		}
		return fairShares(byStage, enough)
	})
	t.Logf("runs by stage and replica: %v", byStage)
}
