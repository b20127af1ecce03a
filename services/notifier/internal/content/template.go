package content

import (
	"context"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/services/notifier/internal/news"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// templateTime is how long a template may take.
const templateTime = 100 * time.Millisecond

// Data is what a template sees. It is values alone, without methods.
type Data struct {
	Alert    Name
	Cluster  string
	State    string // progressing, succeeded, failed, info
	Title    string
	Text     string
	Revision string
	Commit   CommitData
	Images   []news.Image
	Objects  []ObjectData
	Metadata map[string]string
}

// Name names an object.
type Name struct{ Namespace, Name string }

// CommitData is what is known of the commit; all empty for none.
type CommitData struct{ Hash, Subject, Author, Repository, URL, CompareURL string }

// ObjectData is one object that changed.
type ObjectData struct {
	Kind, Namespace, Name, State, Severity, Reason, Message, Detail, Revision, Time string
	Resolved                                                                        bool
	Changed                                                                         []string
}

// Templated is the content with the text that the alert's template makes: its first line is the title. With an error it is the content as it was.
func (s *Subject) Templated(ctx context.Context, c provider.Content) (provider.Content, error) {
	if s.Alert == nil || s.Alert.Template == nil {
		return c, nil
	}
	text, err := s.Alert.Template.Execute(ctx, s.data(c), templateTime)
	if err != nil {
		return c, err
	}
	title, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	c.Title, c.Text, c.Fields, c.Rows, c.RowsMore = title, strings.TrimSpace(rest), nil, nil, 0
	return c, nil
}

func (s *Subject) data(c provider.Content) Data {
	d := Data{
		Alert: Name{s.Alert.Namespace, s.Alert.Name}, Cluster: s.Cluster, State: string(c.State), Title: c.Title, Text: c.Text,
		Revision: s.Revision, Metadata: s.Metadata,
	}
	if s.Commit != nil {
		d.Commit = CommitData{Hash: news.Hash(s.Revision), Subject: s.Commit.Subject, Author: s.Commit.Author, Repository: s.Commit.URL}
	}
	for i, l := range s.links() {
		switch i {
		case 0:
			d.Commit.URL = l.URL
		case 1:
			d.Commit.CompareURL = l.URL
		}
	}
	if s.Images != nil {
		d.Images = s.Images.Changes
	}
	for _, o := range s.Changes {
		d.Objects = append(d.Objects, ObjectData{
			Kind: o.Object.Kind, Namespace: o.Object.Namespace, Name: o.Object.Name, State: string(o.State), Severity: o.Severity, Reason: o.Reason,
			Message: o.Message, Detail: o.Detail, Revision: o.Change.Revision, Time: o.Time.UTC().Format(time.RFC3339), Resolved: o.Resolved, Changed: o.Changed,
		})
	}
	return d
}
