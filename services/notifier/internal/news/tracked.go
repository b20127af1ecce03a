package news

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// Tracked is what is remembered of one object between two facts: as little as tells a change from a repetition.
type Tracked struct {
	UID        string `json:"uid,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
	// Sequence of the last fact that something was told of.
	Sequence uint64 `json:"sequence"`
	// Touched is the last revision, with the generation of the spec, that changed what the object stands for, and Done the last of which it was
	// told how it ended.
	Touched string `json:"touched,omitempty"`
	Done    string `json:"done,omitempty"`
	// Run names the run that was last told of, in the facts' own words: what else that run tells of is no news.
	Run string `json:"run,omitempty"`
	// Changed is what was applied of Touched as long as its health is awaited.
	Changed     []string      `json:"changed,omitempty"`
	ChangedMore int           `json:"changedMore,omitempty"`
	Took        time.Duration `json:"took,omitempty"`

	Failing *Failing `json:"failing,omitempty"`

	// Applied is the revision that the object says itself was applied, where nothing else is known of it: what is told again when all was forgotten is no news.
	Applied string `json:"-"`
}

// Failing is a failure that lasts.
type Failing struct {
	Incident string    `json:"incident"`
	Since    time.Time `json:"since"`
	// At is the revision and generation at which it was last told, and Reasons what was told of it there.
	At      string   `json:"at,omitempty"`
	Reasons []string `json:"reasons"`
}

// inherited is the failure as another object of the same name takes it over, whose success ends it.
func (f *Failing) inherited() *Failing {
	if f == nil {
		return nil
	}
	return &Failing{Incident: f.Incident, Since: f.Since}
}

// maxReasons bounds what is remembered of one failure.
const maxReasons = 16

// maxChanged is how many changed objects are named.
const maxChanged = 20

// Take brings what is remembered up to a fact and returns the change that it means; nil for no news. A fact that was taken already is none.
func (t *Tracked) Take(f *factsv1.Fact, sequence uint64) *Change {
	if sequence <= t.Sequence {
		return nil
	}
	if uid := f.GetObject().GetUid(); uid != "" && uid != t.UID {
		*t = Tracked{UID: uid, Failing: t.Failing.inherited(), Applied: t.Applied}
	}
	c := t.take(f, sequence)
	if c == nil {
		return nil
	}
	t.Sequence, t.APIVersion = sequence, f.GetObject().GetApiVersion()
	c.Sequence, c.Object, c.Time, c.Revision = sequence, objectOf(f), f.GetTime().AsTime(), cmp.Or(c.Revision, f.GetRevision())
	c.Key = HexOf(c.Key, fmt.Sprint(sequence)) // who goes there and back comes to the same state with another fact
	c.Severity = severity(c.State)
	return c
}

// Lasting is the failure that lasts as it is told to who was not told before. The text is what the object says itself.
func (t *Tracked) Lasting(o Object, message string, now time.Time) *Change {
	o.APIVersion, o.UID = t.APIVersion, t.UID
	c := &Change{
		Sequence: t.Sequence, Object: o, Time: now, State: provider.Failed, Severity: severity(provider.Failed), Message: message,
		Key: HexOf("lasting", t.Failing.Incident), Incident: t.Failing.Incident, Since: t.Failing.Since,
	}
	if n := len(t.Failing.Reasons); n > 0 {
		c.Reason = t.Failing.Reasons[n-1]
	}
	return c
}

// Deleted is the fact that ends the failure of an object that is gone: nobody else tells it.
func (t *Tracked) Deleted(o Object) *factsv1.Fact {
	return &factsv1.Fact{
		Id: t.UID + "/deleted", Object: &factsv1.ObjectReference{ApiVersion: t.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Uid: t.UID},
		Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{Message: "it was deleted while it failed"}},
	}
}

func objectOf(f *factsv1.Fact) Object {
	o := f.GetObject()
	return Object{o.GetApiVersion(), o.GetKind(), o.GetNamespace(), o.GetName(), o.GetUid()}
}

// mark names a revision and a spec.
func mark(f *factsv1.Fact) string {
	return fmt.Sprintf("%s/%d", f.GetRevision(), f.GetObject().GetGeneration())
}

// pending is the revision that changed what the object stands for and has not ended, with its mark, where a fact is about a later revision that changed
// nothing of it; empty where there is none. What happens to the object then is the end of that one.
func (t *Tracked) pending(at string) (revision, mark string) {
	if t.Touched == "" || t.Touched == at || t.Touched == t.Done {
		return "", ""
	}
	return t.Touched[:strings.LastIndexByte(t.Touched, '/')], t.Touched
}

// key names the change of an object.
func key(f *factsv1.Fact, parts ...string) string {
	o := f.GetObject()
	return HexOf(append([]string{o.GetUid(), o.GetKind(), o.GetNamespace(), o.GetName()}, parts...)...)
}

// fails notes a failure. It is news where it begins, has another reason, or belongs to a revision that touches the object.
func (t *Tracked) fails(f *factsv1.Fact, sequence uint64, c Change, touched bool) *Change {
	at := mark(f)
	if t.Failing == nil {
		t.Failing = &Failing{Incident: key(f, "incident", fmt.Sprint(sequence)), Since: f.GetTime().AsTime(), At: at}
	}
	if touched && t.Failing.At != at {
		t.Failing.At, t.Failing.Reasons = at, nil
	}
	if slices.Contains(t.Failing.Reasons, c.Reason) || len(t.Failing.Reasons) >= maxReasons {
		return nil
	}
	t.Failing.Reasons = append(t.Failing.Reasons, c.Reason)
	c.State, c.Incident, c.Since = provider.Failed, t.Failing.Incident, t.Failing.Since
	c.Key = key(f, "failed", t.Failing.Incident, at, c.Reason)
	return &c
}

// recovers ends a failure with a change.
func (t *Tracked) recovers(c *Change) {
	if t.Failing == nil {
		return
	}
	c.Incident, c.Since, c.Resolved = t.Failing.Incident, t.Failing.Since, true
	t.Failing = nil
}
