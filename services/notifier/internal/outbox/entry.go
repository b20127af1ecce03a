package outbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/services/notifier/internal/news"
)

// Entry is a letter that was read: a change that an alert wants told. It holds no secret and no address of a channel.
type Entry struct {
	Change news.Change   `json:"change"`
	Event  eventv1.Event `json:"event"`
	// OnlyEnd says that it is wanted only by who was told of the failure that it ends.
	OnlyEnd bool `json:"onlyEnd,omitempty"`

	Letter bus.Letter `json:"-"`
}

// Write puts an entry into its letter.
func (e *Entry) Write() (bus.Letter, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return e.Letter, fmt.Errorf("write letter about %s: %w", e.Change.Object, err)
	}
	l := e.Letter
	l.ID, l.About, l.Since, l.Data = e.Change.Key, e.Change.Object.String(), e.Change.Time, data
	return l, nil
}

// Read reads a letter.
func Read(l bus.Letter) (*Entry, error) {
	e := &Entry{}
	if err := json.Unmarshal(l.Data, e); err != nil {
		return nil, fmt.Errorf("read letter about %s: %w", l.About, err)
	}
	e.Letter = l
	return e, nil
}

// group names the message that the entry belongs to where what a commit changed is one.
func (e *Entry) group() string {
	if !e.Change.Commit || e.Change.Revision == "" {
		return apart
	}
	return news.HexOf(e.Change.Source.Kind, e.Change.Source.Namespace, e.Change.Source.Name, e.Change.Revision)
}

// has says whether the last message of a group told of an entry.
func (g *Group) has(e *Entry) bool {
	return g.Final && e.Change.Sequence <= g.Through && !e.Letter.Again && !slices.Contains(g.Kept, e.Change.Key)
}

// isSource says whether the entry is about a source of revisions rather than about who follows one.
func (e *Entry) isSource() bool { return e.Change.Source.String() == e.Change.Object.String() }

// apart is the group of all that belongs to no commit.
const apart = "apart"

// Told is what is remembered of what an alert told of one object.
type Told struct {
	Sequence uint64 `json:"sequence"` // of the last change that was told
	// Incident is the failure that was told and has not ended.
	Incident string `json:"incident,omitempty"`
	// Status is the commit status that was last set, with its commit.
	Status string `json:"status,omitempty"`
	// Receipt names the message to edit.
	Receipt string `json:"receipt,omitempty"`
	// Tries is how often the next change could not be told, and After when to try again.
	Tries int       `json:"tries,omitempty"`
	After time.Time `json:"after,omitzero"`
}

// Group is what is remembered of a message about many objects as long as it is not the last of them.
type Group struct {
	Receipt string    `json:"receipt,omitempty"` // names the message to edit
	Shown   string    `json:"shown,omitempty"`   // a digest of what was last told
	At      time.Time `json:"at,omitzero"`       // when
	Sent    int       `json:"sent,omitempty"`    // how many messages before that: one that says again what it said before is another
	// Alarmed is a digest of the failures that were told before the end where messages cannot be edited.
	Alarmed string `json:"alarmed,omitempty"`
	// Final says that all changes up to Through were told, of this group or of all Groups, but for those with the keys in Kept: failures that
	// were not due.
	Final   bool     `json:"final,omitempty"`
	Through uint64   `json:"through,omitempty"`
	Kept    []string `json:"kept,omitempty"`
	Groups  []string `json:"groups,omitempty"`

	Tries int       `json:"tries,omitempty"`
	After time.Time `json:"after,omitzero"`
}
