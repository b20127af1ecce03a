package outbox

import (
	"context"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/services/notifier/internal/content"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// each tells each change by itself, those of one object in order.
func (p *planner) each(entries []*Entry) {
	waiting := map[string][]*Entry{} // failures that are not due, by object
	blocked := map[string]bool{}
	for _, e := range entries {
		name := e.Change.Object.String()
		t := p.toldOf(e)
		switch {
		case e.Change.Begun:
			p.drop(e)
			continue
		case blocked[name]:
			continue
		case p.blocked(t.After):
			blocked[name] = true
			continue
		case e.Change.Failed() && !p.due(e, t):
			waiting[name] = append(waiting[name], e)
			continue
		case e.Change.Failed() || !e.Change.Resolved && len(waiting[name]) > 0 && e.Change.State == provider.Progressing:
		default:
			p.drop(waiting[name]...) // over before it was to be told
			delete(waiting, name)
		}
		if p.pointless(e, t) {
			p.drop(e)
			continue
		}
		p.single(e, t)
	}
}

// pointless says whether a change ends a failure that nobody was told of, and is told for no other reason.
func (p *planner) pointless(e *Entry, t Told) bool {
	return e.Change.Resolved && t.Incident != e.Change.Incident && (e.OnlyEnd || p.Alert.OnlyFailures() || !e.Change.Commit && e.Change.State == provider.Succeeded)
}

// single plans one change as one message.
func (p *planner) single(e *Entry, t Told, before ...*Entry) {
	c := &e.Change
	resolved := c.Resolved && t.Incident == c.Incident
	message := provider.Message{Key: news.HexOf(string(p.Alert.UID), c.Key), Event: e.Event, Incident: p.incident(c), Resolved: resolved}
	if p.Traits.Comments {
		message.Edit = t.Receipt
	}
	next := Told{Sequence: max(t.Sequence, c.Sequence), Incident: t.Incident, Receipt: t.Receipt, Status: t.Status}
	switch {
	case c.Failed():
		next.Incident = c.Incident
	case resolved:
		next.Incident = ""
	}
	p.told[c.Object.String()] = next
	subject := p.subject([]content.Shown{{Change: c, State: c.State, Detail: c.Detail()}}, c.Source, c.Revision, e.Event.Metadata)
	subject.Ended = true
	message.Content = subject.Content()
	p.plan.Parcels = append(p.plan.Parcels, Parcel{
		Alert: p.Alert, Object: c.Object.String(), Told: map[string]Told{c.Object.String(): next}, Entries: append(before, e), Message: message, tries: t.Tries,
	})
	p.template(subject)
}

// incident names what a service groups by: the failure, or else the object.
func (p *planner) incident(c *news.Change) string {
	if c.Incident != "" && !p.Traits.Comments {
		return news.HexOf(string(p.Alert.UID), c.Incident)
	}
	return news.HexOf(string(p.Alert.UID), c.Object.String())
}

func (p *planner) subject(changes []content.Shown, source news.Object, revision string, metadata map[string]string) *content.Subject {
	s := &content.Subject{Cluster: p.Cluster, Alert: p.Alert, Metadata: metadata, Changes: changes, Revision: revision}
	if revision != "" {
		s.Commit, s.Images = p.Commit(source, revision)
	}
	return s
}

// template lets the alert's template make the content of the last parcel.
func (p *planner) template(s *content.Subject) {
	if s.Alert.Template == nil {
		return
	}
	last := len(p.plan.Parcels) - 1
	c, err := s.Templated(context.Background(), p.plan.Parcels[last].Message.Content)
	p.plan.Parcels[last].Message.Content, p.plan.Parcels[last].TemplateError = c, err
}

// comments tells the last change of each object in its one comment, where the object names a request.
func (p *planner) comments(entries []*Entry) {
	var order []string
	latest := map[string][]*Entry{}
	for _, e := range entries {
		name := e.Change.Object.String()
		if e.Event.Metadata[eventv1.MetaChangeRequestKey] == "" {
			p.drop(e)
			continue
		}
		if latest[name] == nil {
			order = append(order, name)
		}
		latest[name] = append(latest[name], e)
	}
	for _, name := range order {
		list := latest[name]
		last := list[len(list)-1]
		t := p.toldOf(last)
		switch {
		case p.blocked(t.After):
		case last.Change.Failed() && !p.due(last, t):
		default:
			p.single(last, t, list[:len(list)-1]...)
		}
	}
}
