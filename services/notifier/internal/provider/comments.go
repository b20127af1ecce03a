package provider

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/plain"
)

// commentHost is what a git host does for comments at requests.
type commentHost interface {
	// find looks among the comments that we wrote ourselves for the first that holds the marker; an empty id for none.
	find(ctx context.Context, request int64, marker string) (id string, err error)
	// create writes a new comment.
	create(ctx context.Context, request int64, body string) (id string, err error)
	// edit replaces a comment.
	edit(ctx context.Context, request int64, id, body string) error
}

// comments keeps one comment at a request for each object, or for each group of them.
type comments struct {
	host   commentHost
	uid    string // of the Provider
	marker string // what the host's markers are called
	limit  int    // characters of a body
}

const (
	pullMarker  = "flux-pr-comment-key"
	mergeMarker = "flux-mr-comment-key"
	// maxComments bounds the search for a comment in pages of a hundred.
	commentPages   = 10
	commentPerPage = 100
)

// newComments needs the Provider's UID, by which comments are found again.
func newComments(s Settings, f forge, host commentHost, marker string, limit int) (Sender, Traits, error) {
	if s.UID == "" {
		return nil, Traits{}, fmt.Errorf("%w: the Provider has no UID", ErrSettings)
	}
	return &comments{host: host, uid: s.UID, marker: marker, limit: limit}, f.paced(Traits{Comments: true, Parallel: manyAtOnce}), nil
}

// Send writes m to the request that its event names; an event that names none is not told.
func (c *comments) Send(ctx context.Context, m Message) (Receipt, error) {
	named := metadata(m.Event, eventv1.MetaChangeRequestKey)
	if named == "" {
		return Receipt{}, nil
	}
	request, err := strconv.ParseInt(named, 10, 64)
	if err != nil || request <= 0 {
		return Receipt{}, &Refusal{Reason: fmt.Sprintf("%s in the event's metadata is %q, which is no number of a request", eventv1.MetaChangeRequestKey, plain.Line(named, 30))}
	}
	marker := c.markerOf(m)
	body := marker + "\n\n" + commentBody(m, c.limit-characters(marker)-2)
	id, err := c.host.find(ctx, request, marker)
	if err != nil {
		return Receipt{}, fmt.Errorf("look for the comment at request %d: %w", request, err)
	}
	if id != "" {
		err := c.host.edit(ctx, request, id, body)
		if !notThere(err) {
			return Receipt{ID: id}, wrap(err, "edit the comment at request %d", request)
		}
	}
	id, err = c.host.create(ctx, request, body)
	return Receipt{ID: id}, wrap(err, "comment on request %d", request)
}

// wrap says what was being done, if there is an error.
func wrap(err error, format string, of ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, of...), err)
}

// markerOf is Flux's marker, so that comments which Flux wrote are carried on; of a group it names the incident in the object's place.
// It is an HTML comment: nothing in it may end one.
func (c *comments) markerOf(m Message) string {
	about := m.Event.InvolvedObject
	of := about.Kind + "/" + about.Namespace + "/" + about.Name
	if len(m.Content.Rows) > 0 && m.Incident != "" {
		of = m.Incident
	}
	key := strings.NewReplacer("-->", "", "--!>", "", "<", "", ">", "").Replace(oneLine(c.uid + "/" + of))
	return fmt.Sprintf("<!-- %s:%s -->", c.marker, key)
}

// metadata is a value of an event's metadata under its short key, or under a group's.
func metadata(e eventv1.Event, key string) string {
	if found, ok := e.Metadata[key]; ok {
		return found
	}
	if found, ok := e.Metadata[eventv1.Group+"/"+key]; ok {
		return found
	}
	for name, value := range e.Metadata {
		if strings.HasSuffix(name, ".toolkit.fluxcd.io/"+key) {
			return value
		}
	}
	return ""
}
