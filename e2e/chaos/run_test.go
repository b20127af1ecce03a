package chaos

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// run is one run of chaos over one installation.
type run struct {
	t       *testing.T
	env     *harness.Env
	fleet   *fleet
	rng     *rand.Rand
	seed    uint64
	catalog []fault
	bag     []fault // what is still to come before everything comes again
	phases  []*phase
	took    time.Duration

	listeners *listeners
	kills     int    // of replicas
	telling   string // what the listeners were told, in words

	mu       sync.Mutex
	replicas []*localrun.Replica
	ended    map[string]bool // replicas that were ended by us, or whose end was told
}

// phase is one fault or two at once, and the time until everything was well again.
type phase struct {
	faults                   []fault
	began, mended, converged time.Time
	pushes                   int
	missing                  string // what was not well when the time was over
	ends                     []ended

	regressions, followed, overlaps, warnings int
	reasons                                   map[string]int // by kind and reason: how often something said that it was not ready
	exits                                     []string       // processes that ended by themselves
}

func (p *phase) name() string {
	var names []string
	for _, f := range p.faults {
		names = append(names, f.name)
	}
	return strings.Join(names, " + ")
}

// newRun brings an installation of two replicas of each service to its first commits.
func newRun(t *testing.T, seed uint64, only *regexp.Regexp) *run {
	t.Helper()
	r := &run{t: t, rng: rand.New(rand.NewPCG(seed, seed)), seed: seed, ended: map[string]bool{}}
	r.env = world.Start(t, harness.Options{Replicas: 2, Fronts: true, SmallDisks: true, Notifier: true})
	r.replicas = r.env.Replicas("")
	for _, f := range r.faults() {
		if only.MatchString(f.name) {
			r.catalog = append(r.catalog, f)
		}
	}
	if len(r.catalog) == 0 {
		t.Fatalf("no fault is called %q", only)
	}
	r.listeners = listen(t, r.env)
	r.fleet = newFleet(t, r.env)
	if _, missing := r.fleet.converge(t.Context(), bound); missing != "" {
		t.Fatalf("not well before any fault: %s", missing)
	}
	return r
}

// run makes faults until the time is over, or something does not get well.
func (r *run) run(d time.Duration) {
	r.t.Helper()
	began := time.Now()
	for time.Since(began) < d {
		p := &phase{faults: r.next()}
		r.phases = append(r.phases, p)
		r.suffer(p)
		r.t.Logf("%-60s %5.1fs, then well after %.1fs", p.name(), p.mended.Sub(p.began).Seconds(), p.converged.Sub(p.mended).Seconds())
		if p.missing != "" {
			r.t.Errorf("%s: not well after %s: %s", p.name(), bound, p.missing)
			break
		}
	}
	r.took = time.Since(began)
}

// next draws a fault that has not been for the longest, sometimes with another one.
func (r *run) next() []fault {
	first := r.draw()
	if r.rng.IntN(3) > 0 {
		return []fault{first}
	}
	second := r.draw()
	if second.target == first.target {
		r.bag = append(r.bag, second)
		return []fault{first}
	}
	return []fault{first, second}
}

func (r *run) draw() fault {
	if len(r.bag) == 0 {
		r.bag = append(r.bag, r.catalog...)
		r.rng.Shuffle(len(r.bag), func(i, j int) { r.bag[i], r.bag[j] = r.bag[j], r.bag[i] })
	}
	f := r.bag[0]
	r.bag = r.bag[1:]
	return f
}

// suffer makes the faults of a phase, pushes meanwhile, mends them and waits until all is well. The last push comes while they last.
func (r *run) suffer(p *phase) {
	r.t.Helper()
	lasts := 3*time.Second + time.Duration(r.rng.IntN(7000))*time.Millisecond
	load := rand.New(rand.NewPCG(r.rng.Uint64(), 0))
	p.began = time.Now()
	stop := r.fleet.load(r.t, load)
	var mends []func() error
	for _, f := range p.faults {
		mend, err := f.begin(r.t.Context(), rand.New(rand.NewPCG(r.rng.Uint64(), 0)))
		if err != nil {
			r.t.Errorf("%s: %v", f.name, err)
		}
		mends = append(mends, mend)
	}
	harness.Pause(r.t.Context(), lasts)
	p.pushes = stop()
	for i, mend := range mends {
		if err := mend(); err != nil {
			r.t.Errorf("mend %s: %v", p.faults[i].name, err)
		}
	}
	p.mended = time.Now()
	r.supervise(p)
	_, p.missing = r.fleet.converge(r.t.Context(), bound)
	p.converged = time.Now()
	p.ends = r.fleet.ends()
	r.supervise(p)
}

// supervise does what Kubernetes does: it starts again what has ended by itself, and notes that.
func (r *run) supervise(p *phase) {
	r.t.Helper()
	if r.env.Bus().Ended() {
		p.exits = append(p.exits, "bus")
		if err := r.env.StartBus(); err != nil {
			r.t.Error(err)
		}
	}
	r.mu.Lock()
	replicas := append([]*localrun.Replica{}, r.replicas...)
	r.mu.Unlock()
	for _, replica := range replicas {
		if !replica.Ended() || r.ended[replica.Name] {
			continue
		}
		p.exits = append(p.exits, replica.Name)
		r.expectEnd(replica)
		if err := r.addReplica(replica.Service); err != nil {
			r.t.Error(err)
		}
	}
}
