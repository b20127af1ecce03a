package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// tellTime is how long what is told may lag behind what is so: the lock of a channel outlives its holder by 15 s, and a message that fails is tried again later.
const tellTime = 60 * time.Second

// told is one event that the hook got.
type told struct {
	severity, reason string
	number           int // of the commit; 0 for none
	at               time.Time
}

// listeners are two services outside, which are well all the time: one that takes events, and a chat.
type listeners struct {
	hook, chat *httptest.Server
	number     func(revision string) (int, error)

	mu     sync.Mutex
	events map[string][]told // by object, in the order in which they came
	keys   map[string]int    // how often each message of the hook came
	posts  int
	edits  int
	texts  map[string]string // what each message of the chat says now
	posted map[string]time.Time
	errs   []error
}

// listen starts the services, and has them told of everything in the installation's namespace.
func listen(t *testing.T, e *harness.Env) *listeners {
	t.Helper()
	l := &listeners{number: e.NumberOf, events: map[string][]told{}, keys: map[string]int{}, texts: map[string]string{}, posted: map[string]time.Time{}}
	l.hook, l.chat = httptest.NewServer(http.HandlerFunc(l.hear)), httptest.NewServer(http.HandlerFunc(l.converse))
	t.Cleanup(l.hook.Close)
	t.Cleanup(l.chat.Close)
	for name, spec := range map[string]notifyv1.ProviderSpec{
		"hook": {Type: notifyv1.GenericProvider, Address: l.hook.URL},
		"chat": {Type: notifyv1.SlackProvider, Address: l.chat.URL + "/api/chat.postMessage", Channel: "deploys", SecretRef: &meta.LocalObjectReference{Name: "chat"}},
	} {
		at := metav1.ObjectMeta{Namespace: e.Namespace, Name: name}
		e.Create(t, &corev1.Secret{ObjectMeta: at, StringData: map[string]string{"token": "xoxb-chaos"}}, &notifyv1.Provider{ObjectMeta: at, Spec: spec}, &notifyv1.Alert{ObjectMeta: at, Spec: notifyv1.AlertSpec{
			ProviderRef: meta.LocalObjectReference{Name: name}, EventSources: []notifiersv1.CrossNamespaceObjectReference{{Kind: "GitRepository", Name: "*"}, {Kind: "Kustomization", Name: "*"}},
		}})
	}
	return l
}

func (l *listeners) hear(_ http.ResponseWriter, r *http.Request) {
	var event struct {
		InvolvedObject   struct{ Kind, Name string }
		Severity, Reason string
		Metadata         map[string]string
	}
	err := json.NewDecoder(r.Body).Decode(&event)
	number, none := l.number(event.Metadata["revision"])
	if none != nil {
		number = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
	}
	key := r.Header.Get("Idempotency-Key")
	if l.keys[key]++; l.keys[key] > 1 {
		return
	}
	name := event.InvolvedObject.Kind + "/" + event.InvolvedObject.Name
	l.events[name] = append(l.events[name], told{event.Severity, event.Reason, number, time.Now()})
}

func (l *listeners) converse(w http.ResponseWriter, r *http.Request) {
	var message struct{ TS, Text string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &message)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.errs = append(l.errs, err)
	case strings.HasSuffix(r.URL.Path, "chat.update"):
		l.edits++
	default:
		l.posts++
		message.TS = fmt.Sprintf("%d.0", l.posts)
		l.posted[message.TS] = time.Now()
	}
	l.texts[message.TS] = message.Text
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"ok":true,"channel":"C1","ts":%q}`, message.TS)
}

// knows says whether the hook was told that an application is ready at one of some commits.
func (l *listeners) knows(app string, from, to int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events["Kustomization/"+app] {
		if e.reason == meta.ReconciliationSucceededReason && from <= e.number && e.number <= to {
			return true
		}
	}
	return false
}

// ended is what was pushed to a repository by the end of a phase.
type ended struct {
	want map[string]int // the last commit that changed each application
	last int
}

func (f *fleet) ends() []ended {
	var out []ended
	for _, repo := range f.repos {
		out = append(out, ended{repo.Want(), repo.Last()})
	}
	return out
}

// judgeTold: with a last commit after all faults, everything that stood at the end of each phase has been told, and how it is now. What waits to be told is lost with
// a bus that is wiped.
func (r *run) judgeTold() {
	r.t.Helper()
	l := r.listeners
	for _, repo := range r.fleet.repos {
		if err := r.fleet.push(r.t.Context(), repo); err != nil {
			r.t.Error(err)
		}
	}
	if _, missing := r.fleet.converge(r.t.Context(), bound); missing != "" {
		r.t.Errorf("the last commit: %s", missing)
		return
	}
	last := &phase{ends: r.fleet.ends()}
	harness.Until(r.t, tellTime, "the last commit is told", func() error {
		if missing := last.untold(l); len(missing) > 0 {
			return fmt.Errorf("%v", missing)
		}
		return l.inProgress(time.Now())
	})
	var wiped time.Time
	for i, p := range r.phases {
		lost := p.wipes() || i+1 < len(r.phases) && r.phases[i+1].wipes()
		if missing := p.untold(l); len(missing) > 0 && !lost {
			r.t.Errorf("%s: not told: %v", p.name(), missing)
		}
		if p.wipes() {
			wiped = p.converged
		}
	}
	if err := l.inProgress(wiped); err != nil {
		r.t.Error(err)
	}
	l.judge(r)
}

func (p *phase) wipes() bool { return p.has(func(f fault) bool { return f.name == busWiped }) }

// untold are the applications of whose last commit the hook was not told.
func (p *phase) untold(l *listeners) []string {
	var missing []string
	for _, e := range p.ends {
		for app, want := range e.want {
			if !l.knows(app, want, e.last) {
				missing = append(missing, fmt.Sprintf("%s at %d to %d", app, want, e.last))
			}
		}
	}
	return missing
}

// inProgress says which messages of the chat that were posted after a time say that something goes on.
func (l *listeners) inProgress(after time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ts, text := range l.texts {
		if strings.Contains(text, "in progress") && l.posted[ts].After(after) {
			return fmt.Errorf("a message of the chat still says %q", text)
		}
	}
	return nil
}

// judge: no failure is left without its end, and a message comes again only where somebody was killed or the bus went away.
func (l *listeners) judge(r *run) {
	r.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, events := range l.events {
		if last := events[len(events)-1]; last.severity == "error" {
			r.t.Errorf("what was told last of %s is %s", name, last.reason)
		}
	}
	repeated, most := 0, 0
	for _, n := range l.keys {
		if n > 1 {
			repeated++
		}
		most = max(most, n)
	}
	if repeated > r.kills+len(r.phases) || most > 3 {
		r.t.Errorf("%d messages came again, one %d times, with %d kills in %d phases", repeated, most, r.kills, len(r.phases))
	}
	for _, err := range l.errs {
		r.t.Error(err)
	}
	r.telling = fmt.Sprintf("%d events to a hook, %d of which came again (%d kills of replicas); %d messages and %d edits to a chat", len(l.keys), repeated, r.kills, l.posts, l.edits)
}
