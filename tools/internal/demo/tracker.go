package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// dependencyNotReady is the reason of an application that waits for another: no failure.
const dependencyNotReady = "DependencyNotReady"

// times are when a push was where, since it was made. Where several applications have a part, the last one counts.
type times struct{ asked, fetched, rendered, changed, applied time.Duration }

// tracker follows one push through what is seen of it, and tells each stage.
type tracker struct {
	console  *console
	started  time.Time
	revision string
	wants    []want          // still to come
	touched  map[string]bool // applications whose objects are others at this revision
	finished map[string]bool // applications that are done with this revision
	last     time.Duration   // when the last of them was
	times    times
}

func newTracker(c *console, started time.Time, revision string, wants []want) *tracker {
	return &tracker{
		console: c, started: started, revision: revision, wants: append([]want{}, wants...),
		touched: map[string]bool{}, finished: map[string]bool{},
	}
}

// see takes in a sighting. action is what it means for its object, if it is about one.
func (t *tracker) see(s sighting, action string) {
	after := s.at.Sub(t.started)
	switch {
	case s.fact == nil:
		t.seeObject(s, action, after)
	case t.revision == "":
		t.seeImage(s.fact, after)
	case s.fact.GetRevision() == t.revision:
		t.seeFact(s.fact, after)
	}
}

// seeImage takes in a fact about an image on its way to a commit, which then is what is followed.
func (t *tracker) seeImage(fact *factsv1.Fact, after time.Duration) {
	switch bus.FactKind(fact) {
	case bus.FactImageScanned:
		t.console.stage(after, "scanned", calm, fmt.Sprintf("%s, %d tags", fact.GetObject().GetName(), fact.GetImageScanned().GetTagCount()))
	case bus.FactImageSelected:
		t.console.stage(after, "chosen", calm, fact.GetImageSelected().GetTag())
	case bus.FactImageUpdated:
		t.revision = fact.GetRevision()
		t.console.stage(after, "committed", calm, short(t.revision))
	}
}

// done says whether the cluster is as wanted and every application has come to this revision.
func (t *tracker) done(apps int) bool { return len(t.wants) == 0 && len(t.finished) >= apps }

func (t *tracker) seeFact(fact *factsv1.Fact, after time.Duration) {
	app := fact.GetObject().GetName()
	switch bus.FactKind(fact) {
	case bus.FactSourceRevised:
		t.times.fetched = after
		t.console.stage(after, "fetched", calm, short(t.revision))
	case bus.FactManifestsRendered:
		if rendered := fact.GetManifestsRendered(); !rendered.GetUnchanged() {
			t.touched[app], t.times.rendered = true, after
			t.console.stage(after, "rendered", calm, fmt.Sprintf("%s, %d objects", app, rendered.GetObjectCount()))
		}
	case bus.FactRenderFailed:
		t.touched[app], t.times.rendered = true, after
		t.console.stage(after, "refused", bad, fmt.Sprintf("%s: %s", app, fact.GetRenderFailed().GetReason()))
	case bus.FactApplied:
		t.seeApplied(app, fact.GetApplied().GetCounts(), after)
	case bus.FactApplyFailed:
		t.seeApplyFailed(app, fact.GetApplyFailed(), after)
	}
}

func (t *tracker) finish(app string, after time.Duration) { t.finished[app], t.last = true, after }

// end tells of the applications that the push does not concern: they are at its revision without having changed.
func (t *tracker) end() {
	if others := len(t.finished) - len(t.touched); others > 0 {
		t.console.stage(t.last, "current", faint, fmt.Sprintf("%d other applications, which it does not concern", others))
	}
}

// seeApplied tells of an application that is done. Those that the commit does not concern are told of together, when all are.
func (t *tracker) seeApplied(app string, counts *factsv1.ApplyCounts, after time.Duration) {
	t.finish(app, after)
	if !t.touched[app] {
		return
	}
	t.times.applied = after
	t.console.stage(after, "applied", calm, fmt.Sprintf("%s: %s", app, inWords(counts)))
}

func (t *tracker) seeApplyFailed(app string, failed *factsv1.ApplyFailed, after time.Duration) {
	if failed.GetReason() == dependencyNotReady {
		t.console.stage(after, "waits", warned, fmt.Sprintf("%s: %s", app, strings.ReplaceAll(failed.GetMessage(), t.revision, short(t.revision))))
		return
	}
	t.console.stage(after, "failed", bad, fmt.Sprintf("%s: %s", app, failed.GetMessage()))
}

func (t *tracker) seeObject(s sighting, action string, after time.Duration) {
	what, wanted := t.fulfil(s)
	if s.object.GetKind() == "Kustomization" {
		t.seeApp(s, after)
		return
	}
	if action == "" && !wanted {
		return
	}
	text := refOf(s.object).String()
	if what != "" {
		text += ": " + what
	}
	t.console.stage(after, action, good, text)
}

// seeApp tells of an application that says in its status why it is not ready.
func (t *tracker) seeApp(s sighting, after time.Duration) {
	ready, app := readyOf(s.object), s.object.GetName()
	isFailure := ready.status == "False" && ready.reason != dependencyNotReady
	if !isFailure || t.finished[app] || at(s.object.Object, "status", "lastAttemptedRevision") != t.revision {
		return
	}
	t.finish(app, after)
	t.console.stage(after, "reported", bad, fmt.Sprintf("%s: Ready=False, %s", refOf(s.object), ready.message))
}

// fulfil takes what a sighting brings off the list of wants.
func (t *tracker) fulfil(s sighting) (what string, wanted bool) {
	object, present := refOf(s.object), s.object
	if s.deleted {
		present = nil
	}
	var left []want
	for _, w := range t.wants {
		if w.object == object && w.holds(present) {
			what, wanted = w.what, true
			t.times.changed = s.at.Sub(t.started)
			continue
		}
		left = append(left, w)
	}
	t.wants = left
	return what, wanted
}

// short is a revision with as much of its hash as people read.
func short(revision string) string {
	name, hash, found := strings.Cut(revision, "@sha1:")
	if !found {
		return revision
	}
	return name + " at " + hash[:min(7, len(hash))]
}

// inWords says what became of an application's objects.
func inWords(c *factsv1.ApplyCounts) string {
	text := ""
	for _, part := range []struct {
		count int32
		what  string
	}{{c.GetCreated(), "created"}, {c.GetConfigured(), "configured"}, {c.GetPruned(), "pruned"}, {c.GetSkipped(), "skipped"}, {c.GetUnchanged(), "unchanged"}} {
		if part.count > 0 {
			text += fmt.Sprintf(", %d %s", part.count, part.what)
		}
	}
	if text == "" {
		return "nothing to do"
	}
	return text[2:]
}
