package chaos

import (
	"slices"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// judge finds what must not be, fails the test for it and counts it with its phase.
func (r *run) judge() {
	r.t.Helper()
	r.judgeRegressions()
	r.judgeOverlaps()
	for _, record := range r.env.Records(r.t) {
		if p := r.phaseAt(record.Time); p != nil && (record.Level == "WARN" || record.Level == "ERROR") {
			p.warnings++
		}
	}
	for _, p := range r.phases {
		p.reasons = map[string]int{}
		for kind, failures := range r.fleet.failures {
			for reason, n := range failures.CountValues(p.began, p.converged) {
				p.reasons[kind+" "+reason] += n
			}
		}
		for _, name := range p.exits {
			r.t.Errorf("%s: %s ended by itself", p.name(), name)
		}
	}
}

// judgeRegressions: where the git server itself served an older head, the cluster may follow it.
func (r *run) judgeRegressions() {
	r.t.Helper()
	for what, recorder := range r.fleet.recorded {
		for _, back := range recorder.Back() {
			p := r.phaseAt(back.Older.Seen)
			switch {
			case p == nil:
				r.t.Errorf("%s, before any fault: %s", what, back)
			case p.has(func(f fault) bool { return f.rewinds }):
				p.followed++
			default:
				p.regressions++
				r.t.Errorf("%s, %s: %s", p.name(), what, back)
			}
		}
	}
}

func (p *phase) has(kind func(fault) bool) bool { return slices.ContainsFunc(p.faults, kind) }

// judgeOverlaps: a lock is renewed each third of its time, so half of it is surely left when its holder freezes.
func (r *run) judgeOverlaps() {
	r.t.Helper()
	for _, overlap := range harness.Overlapping(r.env.EndAtFreezes(r.env.Runs(r.t), lockTime/2)) {
		name := "before any fault"
		if p := r.phaseAt(overlap.After.Start); p != nil {
			p.overlaps++
			name = p.name()
		}
		r.t.Errorf("%s: worked on twice at once: %s", name, overlap)
	}
}

// phaseAt is the phase that began last before a time.
func (r *run) phaseAt(at time.Time) *phase {
	var found *phase
	for _, p := range r.phases {
		if !p.began.After(at) {
			found = p
		}
	}
	return found
}
