package outbox

import (
	"strings"

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
		at := place{e.Change.Object.String(), news.Hash(e.Change.Revision)}
		if at.commit == "" || !e.Change.Commit || e.isSource() {
			p.drop(e)
			continue
		}
		if lists[at] == nil {
			order = append(order, at)
		}
		lists[at] = append(lists[at], e)
	}
	blocked := map[string]bool{}
	for _, at := range order {
		list := lists[at]
		last := list[len(list)-1]
		t := p.toldOf(last)
		if !blocked[at.object] && p.blocked(t.After) {
			blocked[at.object] = true
		}
		if !blocked[at.object] {
			p.status(last, at.commit, t, list)
		}
	}
}

func (p *planner) status(e *Entry, commit string, t Told, list []*Entry) {
	c := &e.Change
	state := c.State
	if state == provider.Informed {
		state = provider.Succeeded
	}
	status := commit + " " + string(state)
	if t.Status == status && !e.Letter.Again && state != provider.Failed {
		p.drop(list...)
		return
	}
	name, err := p.Context(e)
	next := Told{Sequence: max(t.Sequence, c.Sequence), Status: status}
	p.told[c.Object.String()] = next
	p.plan.Parcels = append(p.plan.Parcels, Parcel{
		Alert: p.Alert, Object: c.Object.String(), Told: map[string]Told{c.Object.String(): next}, Entries: list, tries: t.Tries, ContextError: err,
		Message: provider.Message{
			Key: news.HexOf(string(p.Alert.UID), c.Key), Event: e.Event, Incident: p.incident(c),
			Content: p.subject(nil, c.Source, c.Revision, nil).Content(),
			Status:  &provider.CommitStatus{State: state, Context: name, Description: describe(c), Commit: commit},
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
