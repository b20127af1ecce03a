// Package payload reads what the bodies of calls name: repositories, images, and the event. It reads and verifies nothing else, and what it
// reads is a hint alone: nothing is fetched from an address in a body.
package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git/address"
	"github.com/sluice-cd/sluice/libs/registry"
)

// The types that an installation's own address has beside those of Receivers, where they are of type github.
const (
	Gitea   = "gitea"
	Forgejo = "forgejo"
)

// Event is what a call says.
type Event struct {
	// Name of the event, as spec.events of a Receiver writes it; empty where the host has none.
	Name string
	// Delivery is what the host gives each delivery to tell it from others, also when it repeats it; empty where it gives nothing.
	Delivery string
	// Timed says that the body holds a time or number that no other event's body has, so that the same body is the same event.
	Timed bool
	// Moves says that the event can have changed a ref or a tag.
	Moves bool
	// Repositories and Images are what the body names, in normal form and canonical.
	Repositories, Images []string
	// Body is the JSON that expressions look at; nil where there is none.
	Body []byte
}

// ErrMalformed says that a body is not what the host sends.
var ErrMalformed = errors.New("malformed body")

// maxNames bounds how many repositories and how many images one call may name.
const maxNames = 64

// reader reads one type of body.
type reader func(h http.Header, body []byte) (*Event, error)

var readers = map[string]reader{
	receiverv1.GenericReceiver:     readGeneric,
	receiverv1.GenericHMACReceiver: readGeneric,
	receiverv1.GenericOIDCReceiver: readGeneric,
	receiverv1.GitHubReceiver:      readGitHub,
	Gitea:                          readGitHub,
	Forgejo:                        readGitHub,
	receiverv1.GitLabReceiver:      readGitLab,
	receiverv1.BitbucketReceiver:   readBitbucket,
	receiverv1.HarborReceiver:      readHarbor,
	receiverv1.DockerHubReceiver:   readDockerHub,
	receiverv1.QuayReceiver:        readQuay,
	receiverv1.GCRReceiver:         readGCR,
	receiverv1.NexusReceiver:       readNexus,
	receiverv1.ACRReceiver:         readACR,
	receiverv1.CDEventsReceiver:    readCDEvents,
}

// Known says whether there is such a type.
func Known(kind string) bool { return readers[kind] != nil }

// Read reads a call of a type. An error is ErrMalformed.
func Read(kind string, h http.Header, body []byte) (*Event, error) {
	read := readers[kind]
	if read == nil {
		return nil, fmt.Errorf("%w: no such type", ErrMalformed)
	}
	return read(h, body)
}

// decode reads JSON. An empty body is fine and says nothing; so is a field of another type than expected: it names nothing.
func decode(body []byte, v any) error {
	if len(body) == 0 {
		return nil
	}
	err := json.Unmarshal(body, v)
	var otherType *json.UnmarshalTypeError
	if errors.As(err, &otherType) && otherType.Field != "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: no JSON object", ErrMalformed)
	}
	return nil
}

// decodeStrict reads JSON in which every known field has its type.
func decodeStrict(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: no JSON of this host", ErrMalformed)
	}
	return nil
}

// addRepositories notes repositories by their addresses; what is none is left out.
func (e *Event) addRepositories(addresses ...string) {
	for _, a := range addresses {
		if normal, err := address.Normal(a); err == nil && len(e.Repositories) < maxNames && !slices.Contains(e.Repositories, normal) {
			e.Repositories = append(e.Repositories, normal)
		}
	}
}

// addImages notes images by names that may have a tag or a digest; what is none is left out.
func (e *Event) addImages(names ...string) {
	for _, name := range names {
		if name == "" {
			continue
		}
		image, err := registry.ParseImage(bare(name))
		if err == nil && len(e.Images) < maxNames && !slices.Contains(e.Images, image.String()) {
			e.Images = append(e.Images, image.String())
		}
	}
}

// bare removes digest and tag from the name of an image.
func bare(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// text is a string of any JSON value: what is no string is empty.
type text string

// UnmarshalJSON takes any value.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = text(s)
	}
	return nil
}

// present is whether a JSON value is there and not null.
type present bool

// UnmarshalJSON takes any value.
func (p *present) UnmarshalJSON(data []byte) error {
	*p = string(data) != "null"
	return nil
}
