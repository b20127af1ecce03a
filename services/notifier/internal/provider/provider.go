// Package provider tells people and systems outside what happened: one sender for each type of Provider in Flux's
// notification.toolkit.fluxcd.io/v1beta3. A sender knows one service's requests, limits and answers; what is told, to whom, how often and
// how long it is tried is decided before it.
package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"

	"github.com/sluice-cd/sluice/libs/git/identity"
)

// Sender tells one place. It may be used by several goroutines at once, and keeps nothing of what it sent.
type Sender interface {
	// Send tells m once and waits for the service's answer; it does not try again. A *Refusal is final; a *Busy says when to come
	// back; any other error may pass by itself. No error holds a secret, neither an address that is one.
	Send(ctx context.Context, m Message) (Receipt, error)
}

// Message is what is told at one time.
type Message struct {
	// Key tells this message from all others and stays the same when it is sent again: an idempotency key for services that know one,
	// and what a service's own key for grouping (incident, alias, fingerprint) is made from otherwise. Hexadecimal, at most 64 characters.
	Key string
	// Event is what happened in Flux's form, for those who are told by machine. Of a group it is the event that decided its state.
	Event eventv1.Event
	// Content is the same for people.
	Content Content
	// Status is the commit status to set; nil unless the Provider is one of commit statuses.
	Status *CommitStatus
	// Edit is the Receipt's ID of the message that this one takes the place of; empty for a new one. Only a sender that Edits looks at it.
	Edit string
	// Resolved says that what earlier messages of the same Incident told of is over.
	Resolved bool
	// Incident is the same for a failure, its reminders and its end; hexadecimal, at most 64 characters.
	Incident string
	// Alert is who wants it told.
	Alert Alert
}

// Alert names an Alert.
type Alert struct{ Namespace, Name, UID string }

// State is how far what a message tells of has come.
type State string

// States of a message. Progressing ones are edited or followed by another state; Superseded ones were, when something newer took their place.
const (
	Progressing State = "progressing"
	Succeeded   State = "succeeded"
	Failed      State = "failed"
	Superseded  State = "superseded"
	Informed    State = "info" // no state: something was said
)

// Content is a message for people. All of it is plain text from hostile hands: senders escape it for their own markup, cut it to their
// own limits, and ping nobody because it says so.
type Content struct {
	State    State
	Title    string // one line
	Text     string // may have several lines; empty for none
	Fields   []Field
	Rows     []Row // a table, worst first
	RowsMore int   // how many rows were left out
	Links    []Link
}

// Field is a name and a value, such as revision or cluster.
type Field struct{ Name, Value string }

// Row is one object of a group.
type Row struct {
	Object string // kind/namespace/name
	State  State
	Detail string // one line
}

// Link is a place to read more. Its URL has scheme http or https.
type Link struct{ Text, URL string }

// CommitStatus is what a git host shows at a commit.
type CommitStatus struct {
	State       State  // Progressing is told as pending
	Context     string // names cluster and object; what the host tells statuses apart by
	Description string // one line
	TargetURL   string // may be empty
	Commit      string // full hash
}

// manyAtOnce is Traits.Parallel of those that take several.
const manyAtOnce = 8

// Receipt is what the service said about a message that it took.
type Receipt struct {
	ID string // names the message for a later edit; empty where the service does not say
}

// Refusal is a service's final no: sent again the same way it would be refused again.
type Refusal struct {
	Status int    // HTTP status, or 0
	Reason string // for people; holds no secret and is cut
	// Login says that who asks is refused, not what is asked: that ends when somebody mends the credentials.
	Login bool
}

func (e *Refusal) Error() string {
	if e.Status == 0 {
		return e.Reason
	}
	return fmt.Sprintf("refused with status %d: %s", e.Status, e.Reason)
}

// Busy is a service's wish to be asked later: 429, or 503 with Retry-After.
type Busy struct {
	After time.Duration // 0 if it did not say
}

func (e *Busy) Error() string { return fmt.Sprintf("asked to come back in %s", e.After) }

// ErrSettings is wrapped by errors of New: nothing can be sent until somebody changes the Provider or its Secrets.
var ErrSettings = errors.New("provider settings")

// Settings are a Provider with all that it refers to, read anew for each run.
type Settings struct {
	Spec      notifyv1.ProviderSpec
	Namespace string
	Name      string
	UID       string
	// Secret is the data of spec.secretRef; nil without one. Its key "address" comes before spec.address, as in Flux.
	Secret map[string][]byte
	// TLS is what spec.certSecretRef asks for; nil for the system's authorities.
	TLS *tls.Config
	// Proxy is what spec.proxySecretRef or spec.proxy asks for; nil for the environment's.
	Proxy *url.URL
	// Cloud gives tokens of cloud identities, for spec.serviceAccountName or the process's own.
	Cloud Cloud
	// Apps gives tokens of GitHub Apps and keeps them; nil asks GitHub for one with each sender.
	Apps Apps
	// AllowPrivate lets addresses lead into private networks and, unless NoLocal, to this machine; link-local ones are refused always.
	AllowPrivate, NoLocal bool
}

// Cloud gives tokens for a cloud's services.
type Cloud interface {
	// Token returns a bearer token of provider ("azure", "gcp") for scope, and when it ends.
	Token(ctx context.Context, provider, scope string) (token string, ends time.Time, err error)
}

// Apps gives tokens of the installations of GitHub Apps.
type Apps interface {
	GitHub(ctx context.Context, app *identity.GitHubApp, client *http.Client) (token string, err error)
}

// Traits say how a type of Provider is to be used.
type Traits struct {
	// Groups: told in Content, for people: a commit's objects make one message. Others are told each event.
	Groups bool
	// Edits: a message can be edited in place with these settings.
	Edits bool
	// CommitStatus: Status is what is sent.
	CommitStatus bool
	// Comments: one comment at a request for each object (of a group, for its Incident), found again and edited in place. Events that name
	// no request (change_request in their metadata) are not told.
	Comments bool
	// Parallel is how many messages may be under way at once, 0 for one: only where a message that is sent twice is one for the service, since of all that
	// are under way when a process is killed nobody knows whether they were taken.
	Parallel int
	// Every is the shortest time between two messages that the service allows in the long run, 0 for none, and Burst how many may come
	// at once. Source: the service's published limits.
	Every time.Duration
	Burst int
}
