package outbox

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/content"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// View is what is decided by: all that one alert wants told, and what it told before.
type View struct {
	Now     time.Time
	Alert   *alert.Alert
	Cluster string
	Traits  provider.Traits
	Entries []*Entry // oldest first
	Told    func(object string) Told
	Group   func(id string) Group
	Merged  Group // the last message that stood for several groups
	// Failures counts the failures in a row of what failed.
	Failures func(c *news.Change) int
	// Settled says whether all that follows a source has done with a revision, and whether the source has a newer one. Of those that the revision did not touch it
	// is enough that they have come to it.
	Settled func(source news.Object, revision string, touched func(object string) bool) (settled, superseded bool)
	// Commit is what is known of a commit; nil for nothing.
	Commit func(source news.Object, revision string) (*news.Commit, *news.Images)
	// Context is that of a commit status.
	Context func(e *Entry) (string, error)
	// Gone says that an object does not exist any more.
	Gone func(news.Object) bool
	// GroupWait bounds how long a message waits for its commit to end.
	GroupWait time.Duration
}

// Plan is what follows.
type Plan struct {
	Parcels []Parcel
	Drop    []*Entry      // what need not be told any more
	Next    time.Duration // when to look again; zero for when something comes
	// Blocked is how many objects and groups wait because their last message could not be told.
	Blocked int
}

// Parcel is one message and what it stands for.
type Parcel struct {
	Alert   *alert.Alert
	Object  string // whose changes wait while this cannot be told; empty for a group
	GroupID string
	Group   Group // as it is once the message was sent, but for its receipt
	Told    map[string]Told
	Entries []*Entry // told by the message, and not to be kept
	Message provider.Message
	// Silent says that there is nothing to send: the message that was sent last said it already.
	Silent bool
	// Aside says that the message stands beside the one that is edited.
	Aside bool
	// TemplateError is why the alert's template did not make the text, ContextError why a commit status has no context.
	TemplateError, ContextError error
	tries                       int
	changes                     []content.Shown // what a group shows
	fresh                       bool            // nothing was told of the group before
}

// Name is that of what has to be told in order: an object or a group of an alert.
func (p *Parcel) Name() string { return p.Alert.Name + "/" + p.Object + p.GroupID }

// Tries is how often the message could not be told before.
func (p *Parcel) Tries() int { return p.tries }

// First is the sequence of the oldest change.
func (p *Parcel) First() uint64 {
	if len(p.Entries) == 0 {
		return 0
	}
	return p.Entries[0].Change.Sequence
}

// Make decides.
func Make(v *View) *Plan {
	p := &planner{View: v, plan: &Plan{}, told: map[string]Told{}}
	entries := p.fresh()
	switch {
	case v.Traits.CommitStatus:
		p.statuses(entries)
	case v.Traits.Comments:
		p.comments(entries)
	case v.Traits.Groups && v.Alert.Groups():
		p.groups(entries)
	case v.Traits.Groups && !v.Alert.Ungrouped:
		p.group(apart, entries)
	default:
		p.each(entries)
	}
	slices.SortStableFunc(p.plan.Parcels, func(a, b Parcel) int { return cmp.Compare(a.First(), b.First()) })
	return p.plan
}

type planner struct {
	*View
	plan *Plan
	told map[string]Told // as it will be
}

func (p *planner) toldOf(e *Entry) Told {
	name := e.Change.Object.String()
	if t, ok := p.told[name]; ok {
		return t
	}
	t := p.View.Told(name)
	p.told[name] = t
	return t
}

func (p *planner) drop(entries ...*Entry) { p.plan.Drop = append(p.plan.Drop, entries...) }

// blocked says whether what could not be told is not to be tried again yet.
func (p *planner) blocked(until time.Time) bool {
	left := until.Sub(p.Now)
	if left <= 0 {
		return false
	}
	p.again(left)
	p.plan.Blocked++
	return true
}

// again asks for a look after d.
func (p *planner) again(d time.Duration) {
	if d = max(d, 10*time.Millisecond); p.plan.Next == 0 || d < p.plan.Next {
		p.plan.Next = d
	}
}

// fresh are the entries that were not told yet, each once: a letter may be stored twice, and who was killed after telling did not remove it.
func (p *planner) fresh() []*Entry {
	seen := map[string]bool{}
	var out []*Entry
	for _, e := range p.Entries {
		g := e.group()
		switch {
		case seen[e.Change.Key], p.outlived(e), !e.Letter.Again && e.Change.Sequence <= p.toldOf(e).Sequence, p.Merged.has(e) && slices.Contains(p.Merged.Groups, g):
			p.drop(e)
		default:
			seen[e.Change.Key] = true
			out = append(out, e)
		}
	}
	return out
}

const (
	// pollFailures and pollMost are how often the failures of a stage are counted while they are too few to be told: the longer, the less often.
	pollFailures, pollMost = 5 * time.Second, 5 * time.Minute
	// longestWait is how long a failure may be too few to be told, as that of an object that somebody suspended.
	longestWait = 7 * 24 * time.Hour
)

// outlived says whether a failure that is not told yet never will be: its object is gone, or nothing has come of it for long.
func (p *planner) outlived(e *Entry) bool {
	if !p.Alert.Waits() || !e.Change.Failed() || p.toldOf(e).Incident == e.Change.Incident {
		return false
	}
	return p.Now.Sub(e.Letter.Written) > longestWait+p.Alert.After || p.Gone(e.Change.Object)
}

// due says whether a failure has lasted long enough to be told.
func (p *planner) due(e *Entry, t Told) bool {
	if !p.Alert.Waits() || t.Incident == e.Change.Incident && t.Incident != "" {
		return true
	}
	if p.Alert.AfterFailures > 0 {
		if p.Failures(&e.Change) >= p.Alert.AfterFailures {
			return true
		}
		p.again(min(max(pollFailures, p.Now.Sub(e.Letter.Written)/20), pollMost))
	}
	if p.Alert.After > 0 {
		left := p.Alert.After - p.Now.Sub(e.Change.Since)
		if left <= 0 {
			return true
		}
		p.again(left)
	}
	return false
}
