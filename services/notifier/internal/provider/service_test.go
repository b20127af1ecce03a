package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// call is a request as a service sees it.
type call struct {
	*http.Request
	body []byte
}

// into decodes the body as a service does that refuses what it does not know.
func (c call) into(v any) error {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("body: %w: %.300s", err, c.body)
	}
	return nil
}

// service answers as a real one does: what it would refuse, it refuses with status 400 and why.
type service struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

// accept checks a request and gives the body of the answer.
type accept func(c call) (string, error)

func serve(t *testing.T, check accept) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c := call{r, body}
		s.mu.Lock()
		s.calls = append(s.calls, c)
		s.mu.Unlock()
		answer, err := check(c)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			answer = err.Error()
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) taken() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *service) last(t *testing.T) call {
	t.Helper()
	all := s.taken()
	if len(all) == 0 {
		t.Fatal("nothing was sent")
	}
	return all[len(all)-1]
}

// expect is the form of most checks: all that is wrong, or nil.
func expect(problems ...error) error { return errors.Join(problems...) }

func want[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("%s is %v, not %v", what, got, wanted)
	}
	return nil
}

func atMost(what string, got, most int) error {
	if got > most {
		return fmt.Errorf("%s has %d, more than %d", what, got, most)
	}
	return nil
}

func atLeast(what string, got, least int) error {
	if got < least {
		return fmt.Errorf("%s has %d, less than %d", what, got, least)
	}
	return nil
}

const (
	secretToken    = "s3cr3t-t0ken-0123456789"
	secretPassword = "p4ssw0rd-of-the-bot"
	key            = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	incident       = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

func sampleMessage() Message {
	return Message{
		Key: key, Incident: incident,
		Event: eventv1.Event{
			InvolvedObject: corev1.ObjectReference{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "web", UID: "7d0cdc51"},
			Severity:       eventv1.EventSeverityError, Timestamp: metav1.NewTime(time.Now().UTC().Truncate(time.Second)), Reason: "HealthCheckFailed",
			Message: "Deployment/apps/web is not ready", ReportingController: "kustomize-controller", ReportingInstance: "kustomize-controller-0",
			Metadata: map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:731f7eaddfb6af01cb2173e18f0f75b0ba780ef1", "summary": "shop in production", "env": "prod"},
		},
		Content: Content{
			State: Failed, Title: "Kustomization/apps/web failed", Text: "Deployment/apps/web is not ready\nimage cannot be pulled",
			Fields: []Field{{"revision", "main@sha1:731f7ead"}, {"cluster", "prod"}},
			Rows:   []Row{{"Kustomization/apps/web", Failed, "not ready"}, {"Kustomization/apps/api", Progressing, ""}},
			Links:  []Link{{"commit", "https://git.example.com/team/apps/commit/731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"}},
		},
		Status: &CommitStatus{
			State: Failed, Context: "kustomization/web/0e6e0d34", Description: "health check failed", Commit: "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1",
			TargetURL: "https://sluice.example.com/apps/web",
		},
		Alert: Alert{"flux-system", "all", "5d6f0d34-6ed8-4a4c-a6a6-0f0f0f0f0f0f"},
	}
}

// Markup, pings, addresses and orders to whoever reads the text.
const hostileText = "@everyone @here @all @channel @room <!channel> <@U123> <users/all> <at id=all></at> @**all** @*group* " +
	"</b><script>alert(1)</script> [x](javascript:alert(1)) <javascript:alert(1)|y> **b** _i_ `c` ~s~ ||z|| # h\n> q\n- l\n1. n\n```\ncode\n``` " +
	"&amp; \"q\" 'a' \\ {{x}} %%% \x00\x1b[31m\u202egnp\u2066\u200f 日本語 😀 \xff https://evil.example/?a=b"

func hostileMessage(size int) Message {
	m := sampleMessage()
	text := strings.Repeat(hostileText, size/len(hostileText)+1)
	m.Content.Title, m.Content.Text = text, text
	m.Content.Fields = []Field{{text, text}, {"", ""}, {"\n", text}}
	for range 60 {
		m.Content.Fields = append(m.Content.Fields, Field{hostileText, hostileText})
	}
	m.Content.Rows = nil
	for range 300 {
		m.Content.Rows = append(m.Content.Rows, Row{hostileText, Failed, hostileText})
	}
	m.Content.Rows[0] = Row{text, Failed, text}
	m.Content.RowsMore = 12345
	m.Content.Links = []Link{{"bad", "javascript:alert('dropped')"}, {hostileText, "https://good.example/a(b)?c=\"d'&e=f<g>|h`*_i_"}, {"long", "https://long.example/" + strings.Repeat("x", 5000)}, {"user", "https://user:dropped@host.example/"}}
	m.Event.Message, m.Event.Reason = text, hostileText
	m.Event.Metadata = map[string]string{"hostile": text, hostileText: hostileText, "": "empty"}
	m.Status.Context, m.Status.Description, m.Status.TargetURL = text, text, "javascript:alert('dropped')"
	m.Event.InvolvedObject.Name = hostileText
	m.Event.ReportingController = text
	return m
}

func bigMessage() Message {
	m := sampleMessage()
	m.Content.State, m.Content.Rows = Progressing, nil
	for i := range 150 {
		m.Content.Rows = append(m.Content.Rows, Row{fmt.Sprintf("Kustomization/team-%03d/application", i), Succeeded, "applied in 1.2 s"})
	}
	m.Content.RowsMore = 50
	return m
}

// kit is what the tests that each type must pass need to know of it.
type kit struct {
	settings  Settings // but for the address
	path      string   // of the address
	user      string   // of the address
	inSpec    bool     // the address is in spec.address, otherwise in the Secret
	check     accept
	edits     bool
	machine   bool                          // told by Event, not by Content
	inert     []string                      // of what pings elsewhere, what does nothing where this type puts it
	connector bool                          // an old connector of Teams
	adjust    func(s Sender, base *url.URL) // leads a sender with a fixed address to the test's
	wrap      func(Sender) Sender           // gives messages what this type needs beside the sample's
}

func (k kit) address(base string) string {
	if k.user != "" {
		base = strings.Replace(base, "://", "://"+k.user+"@", 1)
	}
	return base + k.path
}

func (k kit) sender(t *testing.T, base string) (Sender, Traits) {
	t.Helper()
	s := k.settings
	s.AllowPrivate = true
	s.Secret = map[string][]byte{}
	for name, value := range k.settings.Secret {
		s.Secret[name] = value
	}
	if address := k.address(base); k.inSpec {
		s.Spec.Address = address
	} else if k.adjust == nil {
		s.Secret["address"] = []byte(address + "\n")
	}
	made, traits, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	if k.connector {
		made.(*msteams).connector = true
	}
	if k.adjust != nil {
		to, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		k.adjust(made, to)
	}
	if k.wrap != nil {
		made = k.wrap(made)
	}
	return made, traits
}

// run is what each type must pass.
func (k kit) run(t *testing.T) {
	t.Run("messages", k.messages)
	t.Run("hostile", k.hostile)
	t.Run("busy", k.busy)
	t.Run("failures", k.failures)
	t.Run("unreachable", k.unreachable)
	t.Run("elsewhere", k.elsewhere)
	t.Run("private", k.private)
}

func (k kit) messages(t *testing.T) {
	s := serve(t, k.check)
	sender, traits := k.sender(t, s.URL)
	if traits.Edits != k.edits || traits.Groups == k.machine || traits.Every < 0 || traits.Every > 0 && traits.Burst < 1 {
		t.Errorf("traits: %+v", traits)
	}
	info := sampleMessage()
	info.Content.State, info.Event.Severity = Succeeded, eventv1.EventSeverityInfo
	resolved := info
	resolved.Resolved = true
	for name, m := range map[string]Message{"sample": sampleMessage(), "info": info, "resolved": resolved, "big": bigMessage(), "empty": {Key: key, Incident: incident, Event: sampleMessage().Event, Status: sampleMessage().Status}} {
		receipt, err := sender.Send(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if k.edits && receipt.ID == "" {
			t.Errorf("%s: no ID to edit it by", name)
		}
		if k.edits && receipt.ID != "" {
			k.edit(t, sender, s, m, receipt.ID)
		}
	}
}

func (k kit) edit(t *testing.T, sender Sender, s *service, m Message, id string) {
	before := len(s.taken())
	m.Edit, m.Key = id, strings.Repeat("e", 64)
	again, err := sender.Send(t.Context(), m)
	if err != nil || again.ID != id {
		t.Errorf("edited: %q instead of %q, %v", again.ID, id, err)
	}
	if n := len(s.taken()) - before; n != 1 {
		t.Errorf("an edit took %d requests", n)
	}
}

func (k kit) hostile(t *testing.T) {
	s := serve(t, k.check)
	sender, _ := k.sender(t, s.URL)
	for _, size := range []int{0, 1 << 20} {
		if _, err := sender.Send(t.Context(), hostileMessage(size)); err != nil {
			t.Errorf("%d: %.3000v", size, err)
		}
	}
	if k.machine {
		return
	}
	for _, c := range s.taken() {
		k.checkPings(t, decoded(t, c))
	}
}

// decoded are all strings of a body.
func decoded(t *testing.T, c call) string {
	t.Helper()
	if strings.HasPrefix(c.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		text, err := url.QueryUnescape(string(c.body))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var v any
	if err := json.Unmarshal(c.body, &v); err != nil {
		t.Fatalf("%v: %.200s", err, c.body)
	}
	return fmt.Sprint(v)
}

// escapes are characters that a service with Markdown takes for themselves.
var escapes = regexp.MustCompile(`\\[[:punct:]]`)

func (k kit) checkPings(t *testing.T, text string) {
	t.Helper()
	text = escapes.ReplaceAllString(text, "")
pings:
	for _, ping := range []string{"@everyone", "@here", "@all", "@channel", "@room", "<!channel>", "<@U123>", "<users/all>", "<at id", "@**", "@*", "<script", "](javascript:", "<javascript:", "dropped", "\x00", "\x1b", "\u202e"} {
		for _, allowed := range k.inert {
			if allowed == ping {
				continue pings
			}
		}
		if at := strings.Index(text, ping); at >= 0 {
			t.Errorf("%q is sent: %.200q", ping, text[max(0, at-50):])
		}
	}
}

// withFaults answers each request with status, headers and all secrets that it saw.
func (k kit) withFaults(t *testing.T, status int, headers ...string) Sender {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "no: %s %s %s %s %s %s\n%s", r.Host, r.URL, r.RequestURI, r.Header, user, password, body)
	}))
	t.Cleanup(server.Close)
	sender, _ := k.sender(t, server.URL)
	return sender
}

func (k kit) busy(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for after, wanted := range map[string]time.Duration{"7": 7 * time.Second, "999999": time.Hour, time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second} {
			_, err := k.withFaults(t, status, "Retry-After", after).Send(t.Context(), sampleMessage())
			busy, ok := errors.AsType[*Busy](err)
			if !ok || busy.After > wanted || busy.After < wanted-5*time.Second {
				t.Errorf("%d %s: %v", status, after, err)
			}
		}
	}
	_, err := k.withFaults(t, http.StatusTooManyRequests).Send(t.Context(), sampleMessage())
	if _, ok := errors.AsType[*Busy](err); !ok {
		t.Errorf("without a time: %v", err)
	}
}

func (k kit) failures(t *testing.T) {
	for _, status := range []int{500, 502, 503, 408} {
		_, err := k.withFaults(t, status).Send(t.Context(), sampleMessage())
		k.checkPassing(t, err)
	}
	for _, status := range []int{400, 401, 403, 404, 410, 413, 422} {
		_, err := k.withFaults(t, status).Send(t.Context(), sampleMessage())
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || refusal.Status != status || len(refusal.Reason) > 1300 || strings.Contains(refusal.Reason, "\n") {
			t.Errorf("%d: %v", status, err)
		}
		k.checkSecrets(t, err)
	}
}

func (k kit) checkPassing(t *testing.T, err error) {
	t.Helper()
	_, refusal := errors.AsType[*Refusal](err)
	_, busy := errors.AsType[*Busy](err)
	if err == nil || refusal || busy {
		t.Errorf("not one that may pass: %v", err)
	}
	k.checkSecrets(t, err)
}

func (k kit) checkSecrets(t *testing.T, err error) {
	t.Helper()
	text := fmt.Sprintf("%v %+v", err, err)
	secrets := []string{secretToken, secretPassword, "secret-part-of-the-path"}
	for name, value := range k.settings.Secret {
		if name != "username" {
			secrets = append(secrets, string(value))
		}
	}
	if !k.inSpec && k.adjust == nil {
		secrets = append(secrets, "127.0.0.1")
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the error: %s", secret, text)
		}
	}
}

func (k kit) unreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	sender, _ := k.sender(t, gone.URL)
	_, err := sender.Send(t.Context(), sampleMessage())
	k.checkPassing(t, err)

	over := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(over); slow.Close() })
	k.settings.Spec.Timeout = &metav1.Duration{Duration: 50 * time.Millisecond}
	sender, _ = k.sender(t, slow.URL)
	_, err = sender.Send(t.Context(), sampleMessage())
	k.checkPassing(t, err)
	if !strings.Contains(fmt.Sprint(err), "no answer within 50ms") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sender.Send(ended, sampleMessage()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func (k kit) elsewhere(t *testing.T) {
	other := serve(t, func(call) (string, error) { return "", errors.New("somebody else's") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, err := k.withFaults(t, status, "Location", other.URL+"/elsewhere").Send(t.Context(), sampleMessage())
		if _, ok := errors.AsType[*Refusal](err); !ok {
			t.Errorf("%d: %v", status, err)
		}
		k.checkSecrets(t, err)
	}
	if n := len(other.taken()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// private: with the rule on, nothing connects to this machine.
func (k kit) private(t *testing.T) {
	if k.adjust != nil {
		return
	}
	s := serve(t, k.check)
	for _, allowPrivate := range []bool{false, true} { // this machine is one of its own
		settings := k.settings
		settings.Spec.Address, settings.AllowPrivate, settings.NoLocal = k.address(s.URL), allowPrivate, allowPrivate
		sender, _, err := New(settings)
		if err != nil {
			t.Fatal(err)
		}
		if k.wrap != nil {
			sender = k.wrap(sender)
		}
		_, err = sender.Send(t.Context(), sampleMessage())
		if _, ok := errors.AsType[*Refusal](err); !ok || len(s.taken()) > 0 {
			t.Errorf("%v, %d requests", err, len(s.taken()))
		}
	}
}

func settings(kind, channel string, secret ...string) Settings {
	s := Settings{Spec: notifyv1.ProviderSpec{Type: kind, Channel: channel}, Namespace: "flux-system", Name: kind, UID: "0e6e0d34-6ed8-4a4c-a6a6-0f0f0f0f0f0f", Secret: map[string][]byte{}}
	for i := 0; i < len(secret); i += 2 {
		s.Secret[secret[i]] = []byte(secret[i+1])
	}
	return s
}
