package outbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/services/notifier/internal/content"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

const (
	// gather is how long a message waits for more to tell of.
	gather = time.Second
	// editEvery is the shortest time between two edits of a message.
	editEvery = 3 * time.Second
	// mostMessages is how many messages about commits that have ended may come at once; more are told as one.
	mostMessages = 3
)

// groups makes one message of what each commit changed.
func (p *planner) groups(entries []*Entry) {
	var order []string
	byID := map[string][]*Entry{}
	for _, e := range entries {
		id := e.group()
		if byID[id] == nil {
			order = append(order, id)
		}
		byID[id] = append(byID[id], e)
	}
	for _, id := range order {
		p.group(id, byID[id])
	}
	p.merge()
}

// group plans the message of one group.
func (p *planner) group(id string, entries []*Entry) {
	g := p.View.Group(id)
	if g.Final {
		entries = slices.DeleteFunc(slices.Clone(entries), func(e *Entry) bool {
			if g.has(e) {
				p.drop(e)
				return true
			}
			return false
		})
		g = Group{}
	}
	if len(entries) == 0 {
		return
	}
	if p.blocked(g.After) {
		return
	}
	r := p.rows(id, g, entries)
	if len(r.told) == 0 {
		return // failures that are not due
	}
	if id == apart {
		p.apart(g, r)
		return
	}
	first := entries[0]
	r.leaveOutSource()
	settled, superseded := p.ended(r, first)
	ended := settled || superseded
	switch {
	case len(r.shown) == 0 && !ended, !ended && p.early(g, r):
	case len(r.shown) == 0, superseded && g.Shown == "" && r.only(provider.Progressing):
		p.drop(r.told...)
	default:
		if superseded {
			r.supersede()
		}
		s := p.subject(r.shown, first.Change.Source, first.Change.Revision, r.metadata())
		s.Ended = ended
		p.say(id, g, r, s)
	}
}

// rows is a group folded by object.
type rows struct {
	shown []content.Shown
	// told are the entries that the message stands for; failures that are not due are not among them.
	told      []*Entry
	last      map[string]*Entry // what decides each row
	kept      []string          // the keys of the others
	progress  int
	firstSeen time.Time
	lastSeen  time.Time
	first     uint64
	through   uint64
}

func (r *rows) only(state provider.State) bool {
	return !slices.ContainsFunc(r.shown, func(s content.Shown) bool { return s.State != state })
}

// supersede ends what was in progress when a newer revision came.
func (r *rows) supersede() {
	for i := range r.shown {
		if r.shown[i].State == provider.Progressing {
			r.shown[i].State, r.shown[i].Detail = provider.Superseded, supersededText
		}
	}
}

// supersededText says of what was in progress why it never ended.
const supersededText = "a newer revision came before it was done"

// touched says whether something is told of an object.
func (r *rows) touched(object string) bool { return r.last[object] != nil }

// leaveOutSource leaves out that the source has the revision where there is more to tell of it: the title names it.
func (r *rows) leaveOutSource() {
	rest := slices.DeleteFunc(slices.Clone(r.shown), func(s content.Shown) bool {
		return s.State == provider.Informed && s.Source.String() == s.Object.String()
	})
	if len(rest) > 0 {
		r.shown = rest
	}
}

// metadata is what is told beside all events that are shown.
func (r *rows) metadata() map[string]string {
	return common(r.shown, func(name string) *Entry { return r.last[name] })
}

// common is the metadata that the events of all rows have.
func common(shown []content.Shown, of func(object string) *Entry) map[string]string {
	var out map[string]string
	for _, s := range shown {
		e := of(s.Object.String())
		switch {
		case e == nil:
		case out == nil:
			out = maps.Clone(e.Event.Metadata)
		default:
			maps.DeleteFunc(out, func(name, value string) bool { return e.Event.Metadata[name] != value })
		}
	}
	return out
}

// rows folds entries: the last of an object is what it is now.
func (p *planner) rows(id string, g Group, entries []*Entry) *rows {
	r := &rows{last: map[string]*Entry{}, firstSeen: entries[0].Letter.Written, first: entries[0].Change.Sequence}
	failed := map[string]bool{}    // failed and due within these entries
	waiting := map[string]*Entry{} // failed and not due
	var order []string
	for _, e := range entries {
		name := e.Change.Object.String()
		if r.last[name] == nil && waiting[name] == nil {
			order = append(order, name)
		}
		r.lastSeen = e.Letter.Written
		if e.Change.Failed() && !p.due(e, p.toldOf(e)) {
			waiting[name] = e
			continue
		}
		if w := waiting[name]; w != nil && (e.Change.Resolved || e.Change.State == provider.Succeeded) {
			r.told = append(r.told, w) // over before it was to be told
			delete(waiting, name)
		}
		failed[name] = failed[name] || e.Change.Failed()
		r.last[name] = e
		r.told = append(r.told, e)
		r.through = max(r.through, e.Change.Sequence)
	}
	told := map[*Entry]bool{}
	for _, e := range r.told {
		told[e] = true
	}
	for _, e := range entries {
		if !told[e] {
			r.kept = append(r.kept, e.Change.Key)
		}
	}
	for _, name := range order {
		s, show := p.row(id, r.last[name], waiting[name], failed[name])
		if show || g.Shown != "" && r.last[name] != nil {
			r.shown = append(r.shown, s)
			if s.State == provider.Progressing {
				r.progress++
			}
		}
	}
	return r
}

// row shows an object, unless there is nothing to show of it.
func (p *planner) row(id string, last, waiting *Entry, failed bool) (content.Shown, bool) {
	if waiting != nil {
		c := &waiting.Change
		return content.Shown{Change: c, State: provider.Progressing, Detail: "is tried again"}, id != apart
	}
	c := &last.Change
	s := content.Shown{Change: c, State: c.State, Detail: c.Detail()}
	switch {
	case c.Begun:
		s.Detail = "being applied"
	case c.State == provider.Progressing:
		s.Detail = "waiting for health"
	}
	knows := failed || p.toldOf(last).Incident == c.Incident
	switch {
	case c.Resolved:
		return s, knows || !last.OnlyEnd && !p.Alert.OnlyFailures() && (c.Commit && len(c.Changed) > 0 || c.State == provider.Informed)
	case c.State == provider.Succeeded && c.Commit && len(c.Changed)+c.ChangedMore == 0:
		return s, false // the revision changed nothing of it in the end
	}
	return s, true
}

// ended says whether no more is to come of a commit, and whether that is because of a newer one.
func (p *planner) ended(r *rows, first *Entry) (settled, superseded bool) {
	age := p.Now.Sub(r.firstSeen)
	if age >= p.GroupWait {
		return true, false
	}
	quiet := p.Now.Sub(r.lastSeen)
	if quiet >= gather/2 {
		settled, superseded = p.Settled(first.Change.Source, first.Change.Revision, r.touched)
		settled = settled && r.progress == 0
		superseded = superseded && quiet >= gather
	}
	if !settled && !superseded {
		p.again(min(max(gather/2, age/10), 10*time.Second, p.GroupWait-age))
	}
	return settled, superseded
}

// early says whether it is too early to tell of a commit that has not ended.
func (p *planner) early(g Group, r *rows) bool {
	fails := slices.ContainsFunc(r.shown, func(s content.Shown) bool { return s.State == provider.Failed })
	switch {
	case !p.Traits.Edits:
		return !fails || g.Alarmed != ""
	case fails && g.Alarmed == "":
		return false
	case g.Shown == "":
		left := gather - p.Now.Sub(r.firstSeen)
		if left > 0 {
			p.again(left)
		}
		return left > 0
	}
	left := editEvery - p.Now.Sub(g.At)
	if left > 0 {
		p.again(left)
	}
	return left > 0
}

// say plans the message of a group, if it says anything else than the last one.
func (p *planner) say(id string, g Group, r *rows, s *content.Subject) {
	alarm := !s.Ended && !p.Traits.Edits
	if alarm { // nothing but the failures: the rest is told at the end
		s.Changes = slices.DeleteFunc(slices.Clone(s.Changes), func(c content.Shown) bool { return c.State != provider.Failed })
	}
	shown := digest(s)
	next := Group{Receipt: g.Receipt, Shown: shown, At: p.Now, Alarmed: g.Alarmed, Sent: g.Sent + 1}
	if failures := failuresOf(s); failures != "" && next.Alarmed == "" {
		next.Alarmed = failures
	}
	parcel := Parcel{Alert: p.Alert, GroupID: id, Group: next, Told: map[string]Told{}, tries: g.Tries, changes: s.Changes, fresh: g.Shown == ""}
	if s.Ended {
		parcel.Group.Final, parcel.Group.Through, parcel.Group.Kept = true, r.through, r.kept
		parcel.Entries = r.told
	}
	if g.Shown == shown || s.Ended && !p.Traits.Edits && g.Alarmed != "" && g.Alarmed == shownAsAlarm(s) {
		if s.Ended { // nothing new to say, but that no more is to come must be kept: what comes later is another message
			parcel.Silent, parcel.Group.At, parcel.Group.Sent = true, g.At, g.Sent
			p.noteTold(&parcel, s)
			p.plan.Parcels = append(p.plan.Parcels, parcel)
		}
		return
	}
	p.alarm(id, g, r, s)
	p.noteTold(&parcel, s)
	worst := s.Worst()
	parcel.Message = provider.Message{
		Key: news.HexOf(string(p.Alert.UID), id, shown, fmt.Sprint(r.first), fmt.Sprint(g.Sent)), Content: s.Content(), Edit: g.Receipt, Incident: news.HexOf(string(p.Alert.UID), id),
		Resolved: g.Alarmed != "" && s.State() != provider.Failed,
	}
	if e := r.last[worst.Object.String()]; e != nil {
		parcel.Message.Event = e.Event
	}
	if len(s.Changes) == 1 && id == apart {
		parcel.Message.Incident = p.incident(worst.Change)
		parcel.Message.Resolved = worst.Resolved
	}
	p.plan.Parcels = append(p.plan.Parcels, parcel)
	p.template(s)
}

// alarm tells the first failures of a group by a message of their own where the others are edited into one that people may have read: an edit calls nobody.
func (p *planner) alarm(id string, g Group, r *rows, s *content.Subject) {
	failures := failuresOf(s)
	if !p.Traits.Edits || g.Shown == "" || g.Alarmed != "" || failures == "" {
		return
	}
	only := *s
	only.Changes = slices.DeleteFunc(slices.Clone(s.Changes), func(c content.Shown) bool { return c.State != provider.Failed })
	g.Alarmed = failures
	message := provider.Message{Key: news.HexOf(string(p.Alert.UID), id, "alarm", fmt.Sprint(r.first), fmt.Sprint(g.Sent)), Content: only.Content(), Incident: news.HexOf(string(p.Alert.UID), id)}
	if e := r.last[only.Worst().Object.String()]; e != nil {
		message.Event = e.Event
	}
	p.plan.Parcels = append(p.plan.Parcels, Parcel{Alert: p.Alert, GroupID: id, Group: g, Told: map[string]Told{}, Message: message, Aside: true, tries: g.Tries})
	p.template(&only)
}

// noteTold notes of which failures the message tells the beginning or the end.
func (p *planner) noteTold(parcel *Parcel, s *content.Subject) {
	for _, c := range s.Changes {
		name := c.Object.String()
		t := p.told[name]
		switch {
		case c.State == provider.Failed:
			t.Incident = c.Incident
		case c.Resolved && t.Incident == c.Incident:
			t.Incident = ""
		default:
			continue
		}
		t.Sequence = max(t.Sequence, c.Sequence)
		if !s.Ended {
			t.Sequence = p.View.Told(name).Sequence // its entries are to be seen again
		}
		p.told[name], parcel.Told[name] = t, t
	}
}

// apart tells of what belongs to no commit: in one message what came together.
func (p *planner) apart(g Group, r *rows) {
	if len(r.shown) == 0 {
		p.drop(r.told...)
		return
	}
	if left := gather - p.Now.Sub(r.firstSeen); left > 0 {
		p.again(left)
		return
	}
	s := p.subject(r.shown, news.Object{}, "", r.metadata())
	s.Ended = true
	if len(r.shown) == 1 {
		c := r.shown[0].Change
		s = p.subject(r.shown, c.Source, c.Revision, r.metadata())
		s.Ended = true
	}
	p.say(apart, Group{Tries: g.Tries}, r, s)
}

// merge makes one message of many about commits that ended while nothing could be told.
func (p *planner) merge() {
	var ended []Parcel
	for _, parcel := range p.plan.Parcels {
		if parcel.GroupID != apart && parcel.Group.Final && parcel.fresh && !parcel.Silent {
			ended = append(ended, parcel)
		}
	}
	if len(ended) <= mostMessages {
		return
	}
	p.plan.Parcels = slices.DeleteFunc(p.plan.Parcels, func(parcel Parcel) bool {
		return slices.ContainsFunc(ended, func(e Parcel) bool { return e.GroupID == parcel.GroupID })
	})
	if parcel := p.merged(ended); parcel != nil {
		p.plan.Parcels = append(p.plan.Parcels, *parcel)
	}
}

// newest is, by object, the last change that waits to be told.
func (p *planner) newest() map[string]uint64 {
	out := map[string]uint64{}
	for _, e := range p.Entries {
		name := e.Change.Object.String()
		out[name] = max(out[name], e.Change.Sequence)
	}
	return out
}

// merged is the one message; nil where all of it is told by a later one.
func (p *planner) merged(ended []Parcel) *Parcel {
	out := &Parcel{Alert: p.Alert, GroupID: MergedID, Group: Group{Final: true, At: p.Now}, Told: map[string]Told{}}
	latest, events := map[string]content.Shown{}, map[string]*Entry{}
	for _, parcel := range ended {
		out.Entries = append(out.Entries, parcel.Entries...)
		out.Group.Groups = append(out.Group.Groups, parcel.GroupID)
		out.Group.Kept = append(out.Group.Kept, parcel.Group.Kept...)
		out.Group.Through = max(out.Group.Through, parcel.Group.Through)
		out.tries = max(out.tries, parcel.tries)
		for _, s := range parcel.changes {
			if was, ok := latest[s.Object.String()]; !ok || was.Sequence < s.Sequence {
				latest[s.Object.String()] = s
			}
		}
	}
	for _, e := range out.Entries {
		events[e.Change.Object.String()] = e
	}
	slices.SortStableFunc(out.Entries, func(a, b *Entry) int { return cmp.Compare(a.Change.Sequence, b.Change.Sequence) })
	s := p.subject(nil, news.Object{}, "", nil)
	newest := p.newest()
	for name, c := range latest {
		if c.Sequence == newest[name] {
			s.Changes = append(s.Changes, c)
		}
	}
	if len(s.Changes) == 0 {
		p.drop(out.Entries...)
		return nil
	}
	s.Metadata = common(s.Changes, func(name string) *Entry { return events[name] })
	s.Ended = true
	p.noteTold(out, s)
	out.Group.Shown = digest(s)
	c := s.Content()
	c.Title = fmt.Sprintf("%d commits: %s", len(ended), c.Title)
	worst := s.Worst()
	out.Message = provider.Message{
		Key: news.HexOf(string(p.Alert.UID), MergedID, fmt.Sprint(out.Group.Through)), Content: c, Incident: news.HexOf(string(p.Alert.UID), MergedID),
		Event: events[worst.Object.String()].Event,
	}
	return out
}

// MergedID names the message that stands for several groups.
const MergedID = "merged"

// digest names what a message says.
func digest(s *content.Subject) string {
	parts := []string{string(s.State())}
	for _, c := range sorted(s.Changes) {
		parts = append(parts, c.Object.String(), string(c.State), c.Detail)
	}
	return news.HexOf(parts...)
}

// failuresOf names the failures that a message tells of; empty for none.
func failuresOf(s *content.Subject) string {
	var parts []string
	for _, c := range sorted(s.Changes) {
		if c.State == provider.Failed {
			parts = append(parts, c.Object.String(), c.Reason)
		}
	}
	if parts == nil {
		return ""
	}
	return news.HexOf(parts...)
}

// shownAsAlarm names the failures of a message that tells of nothing else; empty where it does.
func shownAsAlarm(s *content.Subject) string {
	if slices.ContainsFunc(s.Changes, func(c content.Shown) bool { return c.State != provider.Failed }) {
		return ""
	}
	return failuresOf(s)
}

func sorted(list []content.Shown) []content.Shown {
	return slices.SortedFunc(slices.Values(list), func(a, b content.Shown) int { return cmp.Compare(a.Object.String(), b.Object.String()) })
}
