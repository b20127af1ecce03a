package outbox

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

var (
	began  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	source = news.Object{Kind: "GitRepository", Namespace: "apps", Name: "repo"}
)

// desk is an outbox of one alert, without a bus: it does what a plan says.
type desk struct {
	t       *testing.T
	view    View
	entries []*Entry
	told    map[string]Told
	groups  map[string]Group
	next    uint64
	ended   bool
	gone    bool
	latest  string // revision
	sent    []provider.Message
	shown   map[string]string // what the last message about each object said
	covered []string          // keys of the changes that messages stood for, each time
}

func newDesk(t *testing.T, traits provider.Traits, annotations map[string]string) *desk {
	t.Helper()
	item := &notifyv1.Alert{Spec: notifyv1.AlertSpec{EventSources: []notifiersv1.CrossNamespaceObjectReference{{Kind: "Kustomization", Name: "*"}}}}
	item.Name, item.UID, item.Annotations = "alert", "uid", annotations
	read, err := alert.Read(item)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, shown: map[string]string{}, told: map[string]Told{}, groups: map[string]Group{}}
	d.view = View{
		Now: began, Alert: read, Traits: traits, GroupWait: 10 * time.Minute,
		Told:     func(object string) Told { return d.told[object] },
		Group:    func(id string) Group { return d.groups[id] },
		Failures: func(*news.Change) int { return 1 },
		Gone:     func(news.Object) bool { return d.gone },
		Settled: func(_ news.Object, revision string, _ func(string) bool) (bool, bool) {
			return d.ended, d.ended && revision != d.latest
		},
		Commit:  func(news.Object, string) (*news.Commit, *news.Images) { return nil, nil },
		Context: func(*Entry) (string, error) { return "context", nil },
	}
	return d
}

// put adds a letter about an application.
func (d *desk) put(name, revision string, state provider.State, incident string, resolved bool) {
	d.next++
	d.latest = revision
	c := news.Change{
		Sequence: d.next, Key: fmt.Sprint("key-", d.next), Object: news.Object{Kind: "Kustomization", Namespace: "apps", Name: name}, Time: d.view.Now,
		State: state, Reason: "Reason", Message: "text", Revision: revision, Source: source, Commit: true, Incident: incident, Since: d.view.Now, Resolved: resolved,
		Changed: []string{"ConfigMap/apps/x configured"},
	}
	d.entries = append(d.entries, &Entry{Change: c, Letter: bus.Letter{Written: d.view.Now, Sequence: d.next}})
}

// run carries one plan out. A process that is killed after a message notes what it told, and removes nothing.
func (d *desk) run(killed bool) {
	d.view.Entries, d.view.Merged = d.entries, d.groups[MergedID]
	plan := Make(&d.view)
	d.remove(plan.Drop)
	for _, p := range plan.Parcels {
		if !p.Silent {
			d.sent = append(d.sent, p.Message)
		}
		for _, e := range p.Entries {
			d.covered = append(d.covered, e.Change.Key)
		}
		for _, c := range p.changes {
			d.shown[c.Object.String()] = c.Revision + string(c.State)
		}
		if p.GroupID != "" {
			g := p.Group
			if !p.Aside {
				g.Receipt = "receipt"
			}
			d.groups[p.GroupID] = g
		}
		for object, t := range p.Told {
			d.told[object] = t
		}
		if killed {
			return
		}
		d.remove(p.Entries)
	}
}

func (d *desk) remove(gone []*Entry) {
	d.entries = slices.DeleteFunc(d.entries, func(e *Entry) bool { return slices.Contains(gone, e) })
}

func (d *desk) pass(t time.Duration) { d.view.Now = d.view.Now.Add(t) }

// TestAFailureThatIsNotDueSurvivesItsGroup: the message about a commit does not stand for a failure that waits for its time.
func TestAFailureThatIsNotDueSurvivesItsGroup(t *testing.T) {
	d := newDesk(t, provider.Traits{Groups: true}, map[string]string{alert.AfterAnnotation: "30m"})
	d.put("bad", "main@sha1:aaaaaaa", provider.Failed, "incident", false)
	d.put("good", "main@sha1:aaaaaaa", provider.Succeeded, "", false)
	d.pass(11 * time.Minute) // longer than a group waits
	d.run(false)
	if len(d.sent) != 1 || d.sent[0].Content.State == provider.Failed || len(d.entries) != 1 {
		t.Fatalf("%d messages, %d letters left: %+v", len(d.sent), len(d.entries), d.sent)
	}
	d.run(false)
	d.pass(20 * time.Minute)
	d.run(false)
	if len(d.sent) != 2 || d.sent[1].Content.State != provider.Failed || len(d.entries) != 0 {
		t.Errorf("%d messages, %d letters left: %+v", len(d.sent), len(d.entries), d.sent)
	}
}

// TestAFailureThatIsNotDueEndsWithItsObject: nothing waits for failures that nobody will ever count, neither where the object is gone nor without end.
func TestAFailureThatIsNotDueEndsWithItsObject(t *testing.T) {
	for name, end := range map[string]func(*desk){
		"gone": func(d *desk) { d.gone = true }, "suspended for a week": func(d *desk) { d.pass(longestWait + time.Minute) },
	} {
		d := newDesk(t, provider.Traits{}, map[string]string{alert.AfterFailuresAnnotation: "3"})
		d.put("web", "main@sha1:aaaaaaa", provider.Failed, "incident", false)
		d.run(false)
		if len(d.entries) != 1 || len(d.sent) != 0 {
			t.Fatalf("%s: %d letters, %d messages at first", name, len(d.entries), len(d.sent))
		}
		end(d)
		d.run(false)
		if len(d.entries) != 0 || len(d.sent) != 0 {
			t.Errorf("%s: %d letters, %d messages at last", name, len(d.entries), len(d.sent))
		}
	}
}

// TestAMessageThatReturnsIsAnother: a group that says again what it said before does so under another key.
func TestAMessageThatReturnsIsAnother(t *testing.T) {
	d := newDesk(t, provider.Traits{Groups: true, Edits: true}, nil)
	for _, state := range []provider.State{provider.Progressing, provider.Failed, provider.Progressing, provider.Failed} {
		d.put("web", "main@sha1:aaaaaaa", state, "", false)
		d.pass(time.Minute)
		d.run(false)
	}
	keys := map[string]bool{}
	for _, m := range d.sent {
		keys[m.Key] = true
	}
	if len(d.sent) != 5 || len(keys) != 5 { // the first failure is told beside the message, too
		t.Errorf("%d messages with %d keys", len(d.sent), len(keys))
	}
}

// TestAFailureAfterTheEndIsAMessage: what happens at a revision whose message has ended is told by another message, also where that message said all before
// its end was known. An edit tells nobody.
func TestAFailureAfterTheEndIsAMessage(t *testing.T) {
	d := newDesk(t, provider.Traits{Groups: true, Edits: true}, nil)
	d.put("web", "main@sha1:aaaaaaa", provider.Succeeded, "", false)
	d.pass(2 * time.Second)
	d.run(false) // said, and not known to be all
	d.ended = true
	d.pass(5 * time.Second)
	d.run(false)
	if len(d.sent) != 1 || len(d.entries) != 0 {
		t.Fatalf("%d messages, %d letters left", len(d.sent), len(d.entries))
	}
	d.put("db", "main@sha1:aaaaaaa", provider.Failed, "incident", false)
	d.pass(2 * time.Second)
	d.run(false)
	if len(d.sent) != 2 || d.sent[1].Edit != "" || d.sent[1].Content.State != provider.Failed {
		t.Errorf("%d messages, the last: %+v", len(d.sent), d.sent[len(d.sent)-1])
	}
}

// TestAFailureCallsSomebody: the first failure of a commit whose message is there already is told by a message of its own, once, beside the edit.
func TestAFailureCallsSomebody(t *testing.T) {
	for name, killed := range map[string]bool{"told": false, "killed": true} {
		d := newDesk(t, provider.Traits{Groups: true, Edits: true}, nil)
		d.put("web", "main@sha1:aaaaaaa", provider.Succeeded, "", false)
		d.put("db", "main@sha1:aaaaaaa", provider.Progressing, "", false)
		d.pass(2 * time.Second)
		d.run(false)
		d.put("db", "main@sha1:aaaaaaa", provider.Failed, "incident", false)
		for range 3 {
			d.pass(4 * time.Second)
			d.run(killed)
		}
		d.put("web", "main@sha1:aaaaaaa", provider.Failed, "another", false)
		d.ended = true
		for range 3 {
			d.pass(4 * time.Second)
			d.run(killed)
		}
		d.run(false)
		posts, edits := 0, 0
		for _, m := range d.sent {
			if m.Edit == "" {
				posts++
			} else {
				edits++
			}
		}
		if posts != 2 || edits != 2 || d.sent[1].Edit != "" || d.sent[1].Content.State != provider.Failed || len(d.entries) != 0 {
			t.Errorf("%s: %d posts, %d edits, %d letters left: %+v", name, posts, edits, len(d.entries), d.sent)
		}
	}
}

// TestSupersededIsNotInProgress: a message about what a newer revision overtook says so, and no clock goes on.
func TestSupersededIsNotInProgress(t *testing.T) {
	d := newDesk(t, provider.Traits{Groups: true, Edits: true}, nil)
	d.put("web", "main@sha1:aaaaaaa", provider.Progressing, "", false)
	d.pass(2 * time.Second)
	d.run(false)
	d.put("web", "main@sha1:bbbbbbb", provider.Succeeded, "", false)
	d.ended = true
	d.pass(2 * time.Second)
	d.run(false)
	states := map[provider.State]int{}
	for _, m := range d.sent {
		states[m.Content.State]++
	}
	if len(d.sent) != 3 || states[provider.Superseded] != 1 || states[provider.Succeeded] != 1 || d.sent[1].Edit == "" && d.sent[2].Edit == "" {
		t.Errorf("%d messages: %+v", len(d.sent), d.sent)
	}
}

// TestMetadataOfAllIsShown: what an alert says beside every event is in the message about many, and what only some say is not.
func TestMetadataOfAllIsShown(t *testing.T) {
	d := newDesk(t, provider.Traits{Groups: true}, nil)
	d.ended = true
	for i, name := range []string{"a", "b", "c"} {
		d.put(name, "main@sha1:aaaaaaa", provider.Succeeded, "", false)
		d.entries[i].Event.Metadata = map[string]string{"env": "prod", "owner": name, "summary": "the shop"}
	}
	d.pass(2 * time.Second)
	d.run(false)
	shown := map[string]string{}
	for _, f := range d.sent[0].Content.Fields {
		shown[f.Name] = f.Value
	}
	if shown["env"] != "prod" || shown["summary"] != "the shop" || shown["owner"] != "" {
		t.Errorf("fields: %v", shown)
	}
}

// TestAStatusThatIsSentAgainEndsNoOther: a dead letter about an older commit says nothing about the newer one.
func TestAStatusThatIsSentAgainEndsNoOther(t *testing.T) {
	d := newDesk(t, provider.Traits{CommitStatus: true}, nil)
	d.put("web", "main@sha1:aaaaaaa", provider.Failed, "incident", false)
	dead := d.entries[0]
	d.entries = nil
	d.put("web", "main@sha1:bbbbbbb", provider.Progressing, "", false)
	d.run(false)
	dead.Letter.Again = true
	d.entries = append(d.entries, dead)
	d.run(false)
	if len(d.sent) != 2 || d.sent[1].Status.Commit != "aaaaaaa" || d.sent[1].Status.State != provider.Failed {
		t.Errorf("%+v", d.sent)
	}
}

// TestStatusesAtNamedCommits: an object whose metadata names a commit, as one that follows an image built from it, has its status there.
func TestStatusesAtNamedCommits(t *testing.T) {
	d := newDesk(t, provider.Traits{CommitStatus: true}, nil)
	d.put("web", "latest@sha256:aaaaaaa", provider.Succeeded, "", false)
	d.entries[0].Event.Metadata = map[string]string{"commit": strings.Repeat("b", 40)}
	d.run(false)
	if len(d.sent) != 1 || d.sent[0].Status.Commit != strings.Repeat("b", 40) {
		t.Errorf("%+v", d.sent)
	}
}

// TestStatusesEnd: the status of a commit that something newer overtook ends, whether or not it was told before, and also when who told it was killed in between.
func TestStatusesEnd(t *testing.T) {
	for name, killed := range map[string]bool{"told": false, "killed": true} {
		d := newDesk(t, provider.Traits{CommitStatus: true}, nil)
		d.put("web", "main@sha1:aaaaaaa", provider.Progressing, "", false)
		d.run(killed)
		d.put("web", "main@sha1:bbbbbbb", provider.Progressing, "", false)
		d.put("web", "main@sha1:ccccccc", provider.Progressing, "", false)
		for range 4 {
			d.run(killed)
		}
		d.put("web", "main@sha1:ccccccc", provider.Succeeded, "", false)
		for range 3 {
			d.run(false)
		}
		last := map[string]provider.State{}
		for _, m := range d.sent {
			last[m.Status.Commit] = m.Status.State
		}
		want := map[string]provider.State{"aaaaaaa": provider.Superseded, "bbbbbbb": provider.Superseded, "ccccccc": provider.Succeeded}
		if !maps.Equal(last, want) || len(d.entries) != 0 {
			t.Errorf("%s: %v, %d letters left", name, last, len(d.entries))
		}
	}
}

// TestKilledAnywhere: at random changes, at random moments, with processes killed after random messages, every change is told, and none twice.
func TestKilledAnywhere(t *testing.T) {
	for name, traits := range map[string]provider.Traits{"events": {}, "chat": {Groups: true}, "edited chat": {Groups: true, Edits: true}, "status": {CommitStatus: true}} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200) {
				rng := rand.New(rand.NewPCG(seed, 1))
				d := newDesk(t, traits, nil)
				d.ended = true
				last := map[string]string{}
				for i := range 30 {
					name, revision := fmt.Sprint("app-", rng.IntN(4)), fmt.Sprintf("main@sha1:%07x", i/8+1)
					state := []provider.State{provider.Failed, provider.Succeeded, provider.Progressing}[rng.IntN(3)]
					d.put(name, revision, state, "", false)
					last["Kustomization/apps/"+name] = revision + string(state)
					d.pass(time.Duration(rng.IntN(3000)) * time.Millisecond)
					d.run(rng.IntN(3) == 0)
				}
				for range 5 {
					d.pass(11 * time.Minute)
					d.run(false)
				}
				if len(d.entries) != 0 {
					t.Fatalf("seed %d: %d letters are left", seed, len(d.entries))
				}
				seen := map[string]int{}
				for _, key := range d.covered {
					if seen[key]++; seen[key] > 1 {
						t.Fatalf("seed %d: %s was told twice", seed, key)
					}
				}
				for object, word := range last {
					// What is in progress at a revision that is superseded is not told by itself.
					if got := d.shown[object]; traits.Groups && got != word && !strings.HasSuffix(word, string(provider.Progressing)) {
						t.Errorf("seed %d: %s is %s, and was last told as %s", seed, object, word, got)
					}
				}
				if name == "events" && len(seen) != 30 {
					t.Errorf("seed %d: %d of 30 events were told", seed, len(seen))
				}
			}
		})
	}
}
