package news

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// story tells facts about one object and says in one word each what is news.
type story struct {
	t        *testing.T
	tracked  Tracked
	sequence uint64
}

func (s *story) tell(revision string, f *factsv1.Fact) string {
	s.t.Helper()
	s.sequence++
	f.Id, f.Revision, f.Time = fmt.Sprintf("uid/%d", s.sequence), "main@sha1:"+revision, timestamppb.New(time.Unix(int64(s.sequence), 0))
	f.Object = &factsv1.ObjectReference{Kind: "Kustomization", Namespace: "apps", Name: "web", Uid: "uid", Generation: 1}
	c := s.tracked.Take(f, s.sequence)
	if again := s.tracked.Take(f, s.sequence); again != nil && c != nil {
		s.t.Errorf("fact %d is news twice", s.sequence)
	}
	if c == nil {
		return ""
	}
	word := string(c.State)
	if c.Resolved {
		word += " resolved"
	}
	return word
}

func rendered(unchanged bool) *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_ManifestsRendered{ManifestsRendered: &factsv1.ManifestsRendered{Unchanged: unchanged}}}
}

func renderFailed(unchanged bool) *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_RenderFailed{RenderFailed: &factsv1.RenderFailed{Reason: "BuildFailed", Message: "no", Unchanged: unchanged}}}
}

func applied(changed int32, awaited bool) *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_Applied{Applied: &factsv1.Applied{Counts: &factsv1.ApplyCounts{Configured: changed}, HealthAwaited: awaited}}}
}

func applyFailed(reason string) *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_ApplyFailed{ApplyFailed: &factsv1.ApplyFailed{Reason: reason, Message: time.Now().String()}}}
}

func health(to factsv1.Health) *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_HealthChanged{HealthChanged: &factsv1.HealthChanged{To: to, Message: "Deployment/web"}}}
}

func drift() *factsv1.Fact {
	return &factsv1.Fact{Kind: &factsv1.Fact_DriftRepaired{DriftRepaired: &factsv1.DriftRepaired{ObjectCount: 1}}}
}

// TestWhatIsNews: of all facts about an application, in order, which are told, and as what.
func TestWhatIsNews(t *testing.T) {
	const healthy, failed, progressing = factsv1.Health_HEALTH_HEALTHY, factsv1.Health_HEALTH_FAILED, factsv1.Health_HEALTH_PROGRESSING
	type step struct {
		revision string
		fact     *factsv1.Fact
		want     string
	}
	for name, steps := range map[string][]step{
		"a commit that touches it": {
			{"a", rendered(false), "progressing"}, {"a", applied(2, false), "succeeded"}, {"a", applied(0, false), ""}, {"a", rendered(false), ""},
		},
		"a commit that does not":             {{"a", rendered(true), ""}, {"a", applied(0, false), ""}},
		"rendered anew, but nothing changes": {{"a", rendered(false), "progressing"}, {"a", applied(0, false), "succeeded"}},
		"health": {
			{"a", rendered(false), "progressing"}, {"a", applied(1, true), "progressing"}, {"a", health(progressing), ""}, {"a", health(healthy), "succeeded"},
			{"a", health(progressing), ""}, {"a", health(healthy), ""}, {"b", applied(0, false), ""},
		},
		"unhealthy, and well again": {
			{"a", rendered(false), "progressing"}, {"a", applied(1, true), "progressing"}, {"a", health(failed), "failed"}, {"a", health(failed), ""},
			{"a", health(healthy), "succeeded resolved"}, {"a", health(healthy), ""},
		},
		"a failure that lasts over commits that do not touch it": {
			{"a", renderFailed(false), "failed"}, {"a", renderFailed(false), ""}, {"b", renderFailed(true), ""}, {"c", renderFailed(false), "failed"},
			{"d", rendered(true), ""}, {"d", applied(0, false), "succeeded resolved"}, {"e", applied(0, false), ""},
		},
		"another reason is news, the same one with another text is not": {
			{"a", rendered(false), "progressing"}, {"a", applyFailed("A"), "failed"}, {"a", applyFailed("A"), ""}, {"a", applyFailed("B"), "failed"},
			{"a", applyFailed("A"), ""}, {"b", applyFailed("A"), ""}, {"b", rendered(false), "progressing"}, {"b", applyFailed("A"), "failed"},
		},
		"drift": {
			{"a", rendered(false), "progressing"}, {"a", applied(1, false), "succeeded"}, {"a", applied(1, false), ""}, {"a", drift(), "info"},
			{"a", drift(), "info"},
		},
		"there and back": {
			{"a", rendered(false), "progressing"}, {"a", applied(1, false), "succeeded"}, {"b", rendered(false), "progressing"}, {"b", applied(1, false), "succeeded"},
			{"a", rendered(false), "progressing"}, {"a", applied(1, false), "succeeded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{t: t}
			for i, step := range steps {
				if got := s.tell(step.revision, step.fact); got != step.want {
					t.Errorf("step %d at %s is news as %q; want %q", i, step.revision, got, step.want)
				}
			}
		})
	}
}

// TestAnObjectMadeAnewEndsTheFailure: of a failing object that is deleted, the next of its name ends the failure when it succeeds, not when it fails;
// where none comes, that it is gone does.
func TestAnObjectMadeAnewEndsTheFailure(t *testing.T) {
	other := &factsv1.ObjectReference{Kind: "Kustomization", Namespace: "apps", Name: "web", Uid: "other"}
	s := &story{t: t}
	s.tell("a", applyFailed("A"))
	incident := s.tracked.Failing.Incident
	f := applyFailed("A")
	f.Object = other
	if c := s.tracked.Take(f, 10); c == nil || c.Incident != incident || c.Resolved {
		t.Errorf("the failure of the next object: %+v", c)
	}
	f = applied(0, false)
	f.Object = other
	if c := s.tracked.Take(f, 11); c == nil || c.Incident != incident || !c.Resolved {
		t.Errorf("its success: %+v", c)
	}

	s = &story{t: t}
	s.tell("a", applyFailed("A"))
	f = s.tracked.Deleted(Object{Kind: "Kustomization", Namespace: "apps", Name: "web"})
	if c := s.tracked.Take(f, 10); c == nil || !c.Resolved || c.Incident == "" {
		t.Errorf("the end of one that is gone: %+v", c)
	}
	if c := s.tracked.Take(f, 11); c != nil {
		t.Errorf("it ends twice: %+v", c)
	}
}

// TestThereAndBackHasOtherKeys: what happens again at a commit that was there before is another change.
func TestThereAndBackHasOtherKeys(t *testing.T) {
	keys, tracked := map[string]bool{}, Tracked{}
	for i, revision := range []string{"a", "b", "a", "b"} {
		f := applied(1, false)
		f.Revision = revision
		c := tracked.Take(f, uint64(i+1))
		if c == nil || keys[c.Key] {
			t.Fatalf("at %s: %+v", revision, c)
		}
		keys[c.Key] = true
	}
}

// TestWhatACommitBroughtEndsAtThatCommit: a commit that does not touch an application takes nothing away from the one before that does: what becomes of it is told
// at that one.
func TestWhatACommitBroughtEndsAtThatCommit(t *testing.T) {
	const healthy, failed = factsv1.Health_HEALTH_HEALTHY, factsv1.Health_HEALTH_FAILED
	at := func(revision string, f *factsv1.Fact) *factsv1.Fact { f.Revision = revision; return f }
	for name, c := range map[string]struct {
		facts []*factsv1.Fact
		want  string
	}{
		"health": {[]*factsv1.Fact{at("a", rendered(false)), at("a", applied(1, true)), at("b", rendered(true)), at("b", applied(0, true)), at("b", health(healthy))},
			"progressing a, progressing a, succeeded a"},
		"applied late": {[]*factsv1.Fact{at("a", rendered(false)), at("b", rendered(true)), at("b", applied(1, false)), at("c", applied(0, false))}, "progressing a, succeeded a"},
		"unhealthy, and well again": {[]*factsv1.Fact{at("a", rendered(false)), at("a", applied(1, true)), at("b", applied(0, true)), at("b", health(failed)), at("c", applied(0, true)), at("c", health(healthy))},
			"progressing a, progressing a, failed a, succeeded a"},
		"fails late":    {[]*factsv1.Fact{at("a", rendered(false)), at("b", applyFailed("A")), at("c", applyFailed("A"))}, "progressing a, failed a"},
		"touched again": {[]*factsv1.Fact{at("a", rendered(false)), at("b", rendered(false)), at("b", applied(1, false))}, "progressing a, progressing b, succeeded b"},
	} {
		var tracked Tracked
		var got []string
		for i, f := range c.facts {
			if change := tracked.Take(f, uint64(i+1)); change != nil {
				got = append(got, string(change.State)+" "+change.Revision)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s; want %s", name, strings.Join(got, ", "), c.want)
		}
	}
}

// TestHash: what stands for a commit is a hash, or nothing.
func TestHash(t *testing.T) {
	hash := strings.Repeat("0a", 20)
	for revision, want := range map[string]string{
		"main@sha1:" + hash: hash, "v1.0.0@sha1:" + hash: hash, "sha1:" + hash: hash, "feature/a@b@sha1:" + hash: hash, "main": "", "": "", "main@sha1:xyz": "",
	} {
		if got := Hash(revision); got != want {
			t.Errorf("%s: %q; want %q", revision, got, want)
		}
	}
}
