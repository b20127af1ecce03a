package content

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/services/notifier/internal/alert"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

const (
	maxRows   = 30
	maxImages = 10
	maxLine   = 300     // bytes of what one object has to say in a table
	maxText   = 4 << 10 // bytes of what one object has to say by itself
)

// Subject is what a message is about.
type Subject struct {
	Cluster  string // empty for none
	Alert    *alert.Alert
	Metadata map[string]string // what is told beside the event
	Changes  []Shown
	// Revision is the one that all changes belong to; empty for none. Commit and Images are what is known of it.
	Revision string
	Commit   *news.Commit
	Images   *news.Images
	// Ended says that no more is to come of the revision.
	Ended bool
}

// Shown is a change as it is shown: a failure that is not told yet is none.
type Shown struct {
	*news.Change
	State  provider.State
	Detail string
}

// order is that of states in a table.
var order = map[provider.State]int{provider.Failed: 0, provider.Progressing: 1, provider.Superseded: 2, provider.Succeeded: 3, provider.Informed: 4}

// State is that of the worst of all.
func (s *Subject) State() provider.State {
	worst := provider.Informed
	for _, c := range s.Changes {
		if order[c.State] < order[worst] {
			worst = c.State
		}
	}
	if worst == provider.Informed && !s.Ended {
		return provider.Progressing
	}
	return worst
}

// Worst is the change that decides the state: the latest of the worst.
func (s *Subject) Worst() *Shown {
	var worst *Shown
	for i := range s.Changes {
		c := &s.Changes[i]
		if worst == nil || order[c.State] < order[worst.State] || c.State == worst.State && c.Sequence > worst.Sequence {
			worst = c
		}
	}
	return worst
}

// Content is the message.
func (s *Subject) Content() provider.Content {
	slices.SortStableFunc(s.Changes, func(a, b Shown) int {
		return cmp.Or(cmp.Compare(order[a.State], order[b.State]), strings.Compare(a.Object.String(), b.Object.String()))
	})
	out := provider.Content{State: s.State(), Fields: s.fields(), Links: s.links()}
	if len(s.Changes) == 1 {
		s.single(&out)
	} else {
		s.table(&out)
	}
	out.Text = strings.TrimSpace(strings.Join(append(s.commitLines(), out.Text), "\n"))
	return out
}

// words are what is said of an object in a state.
var words = map[provider.State]string{provider.Failed: "failed", provider.Progressing: "in progress", provider.Superseded: "superseded", provider.Succeeded: "succeeded", provider.Informed: "changed"}

func (s *Subject) single(out *provider.Content) {
	c := s.Changes[0]
	word := words[c.State]
	if c.Resolved && c.State == provider.Succeeded {
		word = "recovered"
	}
	if c.State == provider.Informed {
		word = c.Reason
	}
	out.Title = c.Object.String() + " " + word
	if c.Failed() && c.State == provider.Failed {
		out.Title += ": " + c.Reason
	}
	out.Text = cut(c.Message, maxText)
	if c.State == provider.Superseded {
		out.Text = c.Detail
	}
	if c.Resolved && !c.Since.IsZero() {
		out.Fields = append(out.Fields, provider.Field{Name: "failed for", Value: news.Duration(c.Time.Sub(c.Since))})
	}
}

func (s *Subject) table(out *provider.Content) {
	counts := map[provider.State]int{}
	for _, c := range s.Changes {
		counts[c.State]++
		if len(out.Rows) < maxRows {
			out.Rows = append(out.Rows, provider.Row{Object: c.Object.String(), State: c.State, Detail: cut(c.Detail, maxLine)})
		}
	}
	out.RowsMore = len(s.Changes) - len(out.Rows)
	var parts []string
	for _, state := range []provider.State{provider.Failed, provider.Progressing, provider.Superseded, provider.Succeeded, provider.Informed} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[state]))
		}
	}
	what := fmt.Sprintf("%d objects", len(s.Changes))
	if s.Revision != "" {
		what = Short(s.Revision)
	}
	out.Title = what + ": " + strings.Join(parts, ", ")
}

// Short is a revision with seven digits of its hash.
func Short(revision string) string {
	hash := news.Hash(revision)
	if hash == "" {
		return revision
	}
	name, _, found := strings.Cut(revision, "@")
	if !found {
		return hash[:7]
	}
	return name + "@" + hash[:7]
}

func (s *Subject) commitLines() []string {
	var lines []string
	if s.Commit != nil && s.Commit.Subject != "" {
		lines = append(lines, cut(s.Commit.Subject, maxLine))
	}
	if s.Images == nil {
		return lines
	}
	for _, i := range s.Images.Changes[:min(len(s.Images.Changes), maxImages)] {
		lines = append(lines, cut(i.Old+" → "+i.New, maxLine))
	}
	if more := len(s.Images.Changes) - maxImages; more > 0 || s.Images.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more images", max(0, more)+s.Images.More))
	}
	return lines
}

// told are the keys of metadata that are shown in other ways.
var told = map[string]bool{"revision": true, "commit": true, "change_request": true}

func (s *Subject) fields() []provider.Field {
	var fields []provider.Field
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, provider.Field{Name: name, Value: cut(value, maxLine)})
		}
	}
	add("cluster", s.Cluster)
	add("revision", Short(s.Revision))
	if s.Commit != nil {
		add("author", authorName(s.Commit.Author))
		if took := s.took(); took > 0 {
			add("took", news.Duration(took))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
		if !told[key] && (key != "cluster" || s.Cluster == "") {
			add(key, s.Metadata[key])
		}
	}
	return fields
}

// took is the time from the host to the last change, once nothing is in progress.
func (s *Subject) took() time.Duration {
	if s.Commit.Seen.IsZero() || s.State() == provider.Progressing {
		return 0
	}
	var last time.Time
	for _, c := range s.Changes {
		if c.Time.After(last) {
			last = c.Time
		}
	}
	return last.Sub(s.Commit.Seen)
}

// authorName is the name without the address: who reads a channel need not get it.
func authorName(author string) string {
	name, _, _ := strings.Cut(author, "<")
	return strings.TrimSpace(name)
}

func (s *Subject) links() []provider.Link {
	var links []provider.Link
	if s.Commit != nil {
		links = Links(s.Commit.URL, s.Commit.Previous, s.Revision)
	}
	if s.Images != nil && (strings.HasPrefix(s.Images.PullRequest, "https://") || strings.HasPrefix(s.Images.PullRequest, "http://")) {
		links = append(links, provider.Link{Text: "Pull request", URL: s.Images.PullRequest})
	}
	return links
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-4], "") + " …"
}
