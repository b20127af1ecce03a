package chaos

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/client-go/discovery"
)

// report tells of the run, in Markdown.
func (r *run) report() string {
	var b strings.Builder
	pushes := 0
	for _, p := range r.phases {
		pushes += p.pushes
	}
	fmt.Fprintf(&b, "# Chaos\n\n%s\n\n", r.circumstances())
	fmt.Fprintf(&b, "Seed %d, %.1f minutes, %d phases of one fault or two at once, %d pushes to %d repositories with %d applications, two replicas of each service. Told meanwhile: %s.\n\n",
		r.seed, r.took.Minutes(), len(r.phases), pushes, len(r.fleet.repos), len(r.fleet.repos)*len(r.fleet.repos[0].Apps), r.telling)
	b.WriteString(`Pushes go on while a fault lasts, and end before it does. *Well again* is the time from its end until every object, Kustomization and
GitRepository is at the last commit and ready, with no help. *Back* counts objects and statuses that went from a newer commit to an older one, in brackets those
that followed a git server that had gone back itself; *twice* counts runs of one object in two replicas at once. Both must be 0. *Said to be not ready* counts
states of a phase with Ready=False by kind and reason. A phase of two faults counts for both.

What bounds the slow ones: half of the repositories are looked at each 3 s, the others when somebody asks and each 30 s, so a push of which a lagging server knew
nothing takes up to 30 s; a git server that says nothing is given up after the 20 s of ` + "`spec.timeout`" + `; a connection to the API server that is dead without a
word is given up after 15 s, one to the bus after 12 s; what a dead or cut-off replica had in hand is held by its lock for 6 s.

`)
	r.table(&b)
	r.timeline(&b)
	return b.String()
}

// circumstances are the machine and what ran on it.
func (r *run) circumstances() string {
	facts := []string{
		fmt.Sprintf("%d × %s", runtime.NumCPU(), fieldOf("/proc/cpuinfo", "model name")), "memory " + fieldOf("/proc/meminfo", "MemTotal"),
		runtime.GOOS + "/" + runtime.GOARCH, runtime.Version(), r.git("version"), "Sluice " + r.git("-C", world.Root, "describe", "--always", "--tags"),
	}
	if nc, err := nats.Connect(r.env.NATSURL()); err == nil {
		facts = append(facts, "NATS "+nc.ConnectedServerVersion())
		nc.Close()
	}
	if client, err := discovery.NewDiscoveryClientForConfig(world.Plane.RESTConfig()); err == nil {
		if version, err := client.ServerVersion(); err == nil {
			facts = append(facts, "Kubernetes "+version.GitVersion)
		}
	}
	return "On " + time.Now().UTC().Format(time.DateOnly) + ": " + strings.Join(facts, ", ") + "."
}

func (r *run) git(args ...string) string {
	out, err := exec.CommandContext(context.WithoutCancel(r.t.Context()), "git", args...).Output()
	if err != nil {
		return "git?"
	}
	return strings.TrimSpace(string(out))
}

// fieldOf is the first value of a name in a file of lines "name: value".
func fieldOf(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "?"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

// tally is what came of one kind of fault.
type tally struct {
	n, paired                                 int
	times                                     []time.Duration
	regressions, followed, overlaps, warnings int
	reasons                                   map[string]int
}

func (r *run) table(b *strings.Builder) {
	b.WriteString("| fault | n (of which with another) | well again p50 | max | back | twice | warnings logged | said to be not ready |\n|---|---|---|---|---|---|---|---|\n")
	byKind := r.tallies()
	for _, f := range r.catalog {
		t := byKind[f.name]
		if t == nil {
			fmt.Fprintf(b, "| %s | 0 | | | | | | |\n", f.name)
			continue
		}
		back := fmt.Sprint(t.regressions)
		if t.followed > 0 {
			back += fmt.Sprintf(" (%d)", t.followed)
		}
		fmt.Fprintf(b, "| %s | %d (%d) | %.1f s | %.1f s | %s | %d | %d | %s |\n", f.name, t.n, t.paired, t.times[(len(t.times)-1)/2].Seconds(),
			t.times[len(t.times)-1].Seconds(), back, t.overlaps, t.warnings, counted(t.reasons))
	}
	if r.env.BusDisk == nil {
		b.WriteString("\n**Full disks were left out**: this process may not mount file systems.\n")
	}
}

func (r *run) tallies() map[string]*tally {
	byKind := map[string]*tally{}
	for _, p := range r.phases {
		for _, f := range p.faults {
			if byKind[f.name] == nil {
				byKind[f.name] = &tally{reasons: map[string]int{}}
			}
			byKind[f.name].add(p)
		}
	}
	return byKind
}

func (t *tally) add(p *phase) {
	t.n++
	if len(p.faults) > 1 {
		t.paired++
	}
	t.times = append(t.times, p.converged.Sub(p.mended))
	slices.Sort(t.times)
	t.regressions, t.followed = t.regressions+p.regressions, t.followed+p.followed
	t.overlaps, t.warnings = t.overlaps+p.overlaps, t.warnings+p.warnings
	for reason, n := range p.reasons {
		t.reasons[reason] += n
	}
}

func counted(reasons map[string]int) string {
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		words = append(words, fmt.Sprintf("%s %d×", reason, reasons[reason]))
	}
	return strings.Join(words, ", ")
}

func (r *run) timeline(b *strings.Builder) {
	b.WriteString("\n## One after the other\n\n| at | fault | for | pushes | well again after |\n|---|---|---|---|---|\n")
	for _, p := range r.phases {
		well := fmt.Sprintf("%.1f s", p.converged.Sub(p.mended).Seconds())
		if p.missing != "" {
			well = "**not within " + bound.String() + "**: " + p.missing
		}
		if len(p.exits) > 0 {
			well += "; ended by itself: " + strings.Join(p.exits, ", ")
		}
		fmt.Fprintf(b, "| %.0f s | %s | %.1f s | %d | %s |\n", p.began.Sub(r.phases[0].began).Seconds(), p.name(), p.mended.Sub(p.began).Seconds(), p.pushes, well)
	}
}
