package news

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// Object is the custom resource that something is told of.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// String is kind/namespace/name.
func (o Object) String() string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

// Change is a change of state of one object that is worth telling.
type Change struct {
	// Sequence is that of the fact: of two changes of an object the later one has the greater.
	Sequence uint64 `json:"sequence"`
	// Key names the object, the revision, the kind of change and the fact that told it; hexadecimal.
	Key    string    `json:"key"`
	Object Object    `json:"object"`
	Time   time.Time `json:"time"`

	State    provider.State `json:"state"`
	Severity string         `json:"severity"`
	Reason   string         `json:"reason"`
	Message  string         `json:"message"`
	// Revision is the one that the change belongs to, and Source the object that it came from; Commit says that it is told with all else
	// that this commit changed.
	Revision string `json:"revision,omitempty"`
	Source   Object `json:"source,omitzero"`
	Commit   bool   `json:"commit,omitempty"`

	// Incident is the failure that the change begins, goes on with or ends; hexadecimal, empty for none. Since is when it began.
	Incident string    `json:"incident,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Resolved bool      `json:"resolved,omitempty"`
	// Stage is the stage that failed, for who counts its failures; Retry is how often a failure is looked at again that no run counts.
	Stage string        `json:"stage,omitempty"`
	Retry time.Duration `json:"retry,omitempty"`

	// Begun says that work on the object has only begun: systems that take events are not told of it.
	Begun bool `json:"begun,omitempty"`
	// Changed are the objects of the cluster that became different, each in a line, and ChangedMore how many are not in the list.
	Changed     []string      `json:"changed,omitempty"`
	ChangedMore int           `json:"changedMore,omitempty"`
	Took        time.Duration `json:"took,omitempty"`
}

// Failed says whether the change is for the worse.
func (c *Change) Failed() bool { return c.State == provider.Failed }

// Detail is the change in one line.
func (c *Change) Detail() string {
	line, _, _ := strings.Cut(c.Message, "\n")
	switch {
	case c.Failed():
		return c.Reason + ": " + line
	case c.Resolved && !c.Since.IsZero():
		return "recovered after " + Duration(c.Time.Sub(c.Since))
	case c.Commit && c.State == provider.Succeeded:
		return c.summary()
	}
	return line
}

// summary says how many objects changed and how long that took.
func (c *Change) summary() string {
	n := len(c.Changed) + c.ChangedMore
	text := fmt.Sprintf("%d objects changed", n)
	switch n {
	case 0:
		text = "nothing changed"
	case 1:
		text = c.Changed[0]
	}
	if c.Took > 0 {
		text += " in " + Duration(c.Took)
	}
	return text
}

// Duration is d for people.
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

// HexOf is a name of 32 hexadecimal digits for what parts stand for.
func HexOf(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

func severity(s provider.State) string {
	if s == provider.Failed {
		return eventv1.EventSeverityError
	}
	return eventv1.EventSeverityInfo
}
