package outbox

import (
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// statuses sets the last state that each object has at each commit that touched it. What came before it is pointless. Only who follows a source
// has a state at its commits.
func (p *planner) statuses(entries []*Entry) {
	type place struct{ object, commit string }
	var order []place
	lists := map[place][]*Entry{}
	for _, e := range entries {
		at := place{e.Change.Object.String(), e.commit()}
		if at.commit == "" {
			p.drop(e)
			continue
		}
		if lists[at] == nil {
			order = append(order, at)
		}
		lists[at] = append(lists[at], e)
	}
	last := map[string]string{} // the last commit of each object
	for _, at := range order {
		last[at.object] = at.commit
	}
	blocked := map[string]bool{}
	for _, at := range order {
		list := lists[at]
		t := p.toldOf(list[0])
		if !blocked[at.object] && p.blocked(t.After) {
			blocked[at.object] = true
		}
		if !blocked[at.object] {
			p.supersede(list[0], at.commit, t)
			p.status(list, at.commit, at.commit != last[at.object])
		}
	}
}

// commit is the one at which the entry is a status: that which the object's metadata names, or else the one that it follows. Empty where it is about none.
func (e *Entry) commit() string {
	if named := e.Event.Metadata[eventv1.MetaCommitKey]; named != "" {
		return news.Hash("sha1:" + named)
	}
	if !e.Change.Commit || e.isSource() {
		return ""
	}
	return news.Hash(e.Change.Revision)
}

// supersede ends the status of the commit before where that waits for an end: none will come any more.
func (p *planner) supersede(e *Entry, commit string, t Told) {
	before, state, _ := strings.Cut(t.Status, " ")
	if before == commit || state != string(provider.Progressing) || e.OnlyEnd || e.Letter.Again { // what is sent again is older than what was told since
		return
	}
	p.set(e, before, provider.Superseded, supersededText, nil, "superseded")
}

// status sets the last of the states that an object had at a commit; superseded says that it went on to another.
func (p *planner) status(list []*Entry, commit string, superseded bool) {
	e := list[len(list)-1]
	c, t := &e.Change, p.toldOf(e)
	state, text := c.State, describe(c)
	switch {
	case state == provider.Informed:
		state = provider.Succeeded
	case state == provider.Progressing && superseded:
		state, text = provider.Superseded, supersededText
	}
	told := commit + " " + string(state)
	if t.Status == told && !e.Letter.Again && state != provider.Failed || e.OnlyEnd && !strings.HasPrefix(t.Status, commit+" ") {
		p.drop(list...)
		return
	}
	p.set(e, commit, state, text, list, "")
}

// set plans one status, of which e tells the context.
func (p *planner) set(e *Entry, commit string, state provider.State, text string, list []*Entry, kind string) {
	c, t := &e.Change, p.toldOf(e)
	next := Told{Sequence: t.Sequence, Status: commit + " " + string(state)}
	if len(list) > 0 {
		next.Sequence = max(next.Sequence, c.Sequence)
	}
	p.told[c.Object.String()] = next
	name, err := p.Context(e)
	p.plan.Parcels = append(p.plan.Parcels, Parcel{
		Alert: p.Alert, Object: c.Object.String(), Told: map[string]Told{c.Object.String(): next}, Entries: list, tries: t.Tries, ContextError: err,
		Message: provider.Message{
			Key: news.HexOf(string(p.Alert.UID), c.Key, kind), Event: e.Event, Incident: p.incident(c),
			Content: p.subject(nil, c.Source, c.Revision, nil).Content(),
			Status:  &provider.CommitStatus{State: state, Context: name, Description: text, Commit: commit},
		},
	})
}

// describe is a change in a few words.
func describe(c *news.Change) string {
	switch {
	case c.Begun:
		return "being applied"
	case c.State == provider.Progressing:
		return "waiting for health"
	}
	line, _, _ := strings.Cut(c.Detail(), "\n")
	return line
}
