package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/githost"
)

// What GitHub takes, in characters.
const (
	githubStatusText = 140
	githubStatusName = 255
	githubEventType  = 100
	githubPayload    = 64 << 10 // bytes of JSON
)

// github is one repository of GitHub.
type github struct{ forge }

func newGitHubForge(s Settings) (github, error) {
	by, err := atGitHub(s)
	if err != nil {
		return github{}, err
	}
	f, err := newForge(s, githost.GitHub, by)
	return github{f}, err
}

func (g github) path(rest ...any) string {
	return githost.Path(append([]any{"repos", g.repository.Owner(), g.repository.Name()}, rest...)...)
}

// newGitHub sets commit statuses at GitHub.
func newGitHub(s Settings) (Sender, Traits, error) {
	g, err := newGitHubForge(s)
	return &statuses{host: githubStatuses{g}, nameLimit: githubStatusName, textLimit: githubStatusText}, g.paced(statusTraits), err
}

type githubStatuses struct{ github }

func (githubStatuses) state(s State) string {
	switch s {
	case Progressing:
		return "pending"
	case Failed:
		return "failure"
	case Superseded:
		return "error"
	}
	return "success"
}

// last reads the newest hundred statuses, newest first.
func (g githubStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found []struct {
		State       string `json:"state"`
		Context     string `json:"context"`
		Description string `json:"description"`
	}
	if err := g.call(ctx, "GET", g.path("commits", commit, "statuses"), params("per_page", "100"), nil, &found); err != nil {
		return status{}, err
	}
	for _, f := range found {
		if strings.EqualFold(f.Context, name) {
			return status{state: f.State, description: f.Description}, nil
		}
	}
	return status{}, nil
}

func (g githubStatuses) set(ctx context.Context, commit string, s status, _ Message) error {
	in := map[string]string{"state": s.state, "context": s.name, "description": s.description}
	if s.url != "" {
		in["target_url"] = s.url
	}
	return g.call(ctx, "POST", g.path("statuses", commit), nil, in, nil)
}

// newGitHubDispatch starts workflows of a repository at GitHub by events of type repository_dispatch.
func newGitHubDispatch(s Settings) (Sender, Traits, error) {
	g, err := newGitHubForge(s)
	return githubDispatch{g}, g.paced(Traits{}), err
}

type githubDispatch struct{ github }

// Send sends the event with the type Kind/name.namespace.
func (g githubDispatch) Send(ctx context.Context, m Message) (Receipt, error) {
	about := m.Event.InvolvedObject
	kind := fmt.Sprintf("%s/%s.%s", about.Kind, about.Name, about.Namespace)
	if n := utf8.RuneCountInString(kind); n > githubEventType {
		return Receipt{}, &Refusal{Reason: fmt.Sprintf("GitHub takes types of events of %d characters; %q has %d", githubEventType, kind, n)}
	}
	payload, err := eventWithin(m.Event, githubPayload-1024)
	if err != nil {
		return Receipt{}, err
	}
	in := map[string]any{"event_type": kind, "client_payload": json.RawMessage(payload)}
	return Receipt{}, g.call(ctx, "POST", g.path("dispatches"), nil, in, nil)
}

// eventWithin is an event as JSON of at most so many bytes; a message that is too long for it is cut.
func eventWithin(e eventv1.Event, most int) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	if len(data) <= most {
		return data, nil
	}
	message := e.Message
	over := sort.Search(len(message), func(n int) bool { // the shortest cut that is too long
		e.Message = cutBytes(message, n)
		data, err = json.Marshal(e)
		return err != nil || len(data) > most
	})
	e.Message = cutBytes(message, max(over-1, 0))
	if data, err = json.Marshal(e); err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	if len(data) <= most {
		return data, nil
	}
	return nil, &Refusal{Reason: fmt.Sprintf("the event has %d bytes without its message; the service takes %d", len(data), most)}
}

// cutBytes is the beginning of text, of at most n bytes and what says that there was more.
func cutBytes(text string, n int) string { return strings.ToValidUTF8(text[:n], "") + "…" }
