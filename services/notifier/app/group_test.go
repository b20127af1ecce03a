package app

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
)

// slackBot answers as Slack's Web API does.
func slackBot(h *host) *host {
	n := 0
	h.set(func(c call) (int, string) {
		ts, isEdit := c.JSON("ts").(string)
		if !isEdit {
			n++
			ts = fmt.Sprintf("%d.0", n)
		}
		return 200, fmt.Sprintf(`{"ok":true,"channel":"C1","ts":%q}`, ts)
	})
	return h
}

func (w *world) slack(name string, h *host, change func(*notifyv1.Alert), kinds ...string) {
	w.Helper()
	w.channel(name, notifyv1.ProviderSpec{Type: "slack", Address: h.URL + "/api/chat.postMessage", Channel: "deploys"}, map[string]string{"token": "xoxb-secret"}, change, kinds...)
}

// apps makes many applications.
func (w *world) apps(n int, source string) []*kustomizev1.Kustomization {
	w.Helper()
	out := make([]*kustomizev1.Kustomization, n)
	for i := range out {
		out[i] = w.app(fmt.Sprintf("app-%03d", i), source)
	}
	return out
}

// TestACommitIsOneMessage: a commit that touches 100 applications is one message, edited in place, that names none of those that it did not
// touch and says at the end who failed.
func TestACommitIsOneMessage(t *testing.T) {
	w := newWorld(t, nil)
	chat := slackBot(newHost(t))
	w.slack("chat", chat, nil, "GitRepository", "Kustomization")
	repo := w.repository("repo")
	apps := w.apps(110, "repo")
	w.revised(repo, revision(1), revision(2), "Bump *everything* <!channel>")
	for i, k := range apps {
		w.rendered(k, revision(2), i >= 100)
	}
	half := func(from, to int) {
		for i, k := range apps[from:to] {
			if from+i != 7 {
				w.applied(k, revision(2), 1)
			}
		}
	}
	w.failed(apps[7], revision(2), meta.ReconciliationFailedReason, "Deployment/web is invalid") // at first: later it would be a message of its own
	half(0, 50)
	w.eventually("the message", func() bool { return len(chat.got()) >= 1 })
	half(50, 100)
	for _, k := range apps[100:] {
		w.applied(k, revision(2), 0)
	}
	w.quiet()
	calls := chat.got()
	for i, c := range calls {
		want := "/api/chat.update"
		if i == 0 {
			want = "/api/chat.postMessage"
		}
		if c.Path != want {
			t.Errorf("call %d goes to %s; want %s", i, c.Path, want)
		}
		if i > 0 && c.JSON("ts") != "1.0" {
			t.Errorf("call %d edits %v", i, c.JSON("ts"))
		}
		if i > 1 && c.At.Sub(calls[i-1].At) < 900*time.Millisecond {
			t.Errorf("call %d comes %s after the one before", i, c.At.Sub(calls[i-1].At))
		}
		if strings.Contains(c.Body, "app-105") {
			t.Errorf("call %d names an application that was not touched", i)
		}
	}
	last := calls[len(calls)-1].Body
	for _, want := range []string{"1 failed", "99 succeeded", "app-007", "is invalid", "Ann", "https://github.com/team/repo/commit/" + revision(2)[len("main@sha1:"):], "compare"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last message lacks %q: %s", want, last)
		}
	}
	if strings.Contains(last, "in progress") {
		t.Errorf("the last message: %s", last)
	}
	t.Logf("100 applications: 1 message, %d edits", len(calls)-1)

	// What is mended later is one message of its own.
	n := len(calls)
	w.applied(apps[7], revision(2), 1)
	w.eventually("the message of the recovery", func() bool { return len(chat.got()) > n })
	w.quiet()
	mended := chat.got()[n:]
	if len(mended) != 1 || mended[0].Path != "/api/chat.postMessage" || !strings.Contains(mended[0].Body, "recovered") {
		t.Errorf("after the recovery: %+v", mended)
	}
}

// TestACommitWithoutEdits: where messages cannot be edited, the first failure is told at once, and the rest at the end.
func TestACommitWithoutEdits(t *testing.T) {
	w := newWorld(t, nil)
	chat := newHost(t)
	chat.set(func(call) (int, string) { return 200, "ok" })
	w.channel("chat", notifyv1.ProviderSpec{Type: "slack", Address: chat.URL + "/services/T/B/X"}, nil, nil, "Kustomization")
	repo := w.repository("repo")
	apps := w.apps(12, "repo")
	w.revised(repo, revision(1), revision(2), "Bump everything")
	for _, k := range apps {
		w.rendered(k, revision(2), false)
	}
	w.applied(apps[0], revision(2), 1)
	w.failed(apps[1], revision(2), meta.ReconciliationFailedReason, "no")
	w.eventually("the first failure", func() bool { return len(chat.got()) == 1 })
	if body := chat.got()[0].Body; !strings.Contains(body, "app-001") || strings.Contains(body, "app-000") {
		t.Errorf("the first failure: %s", body)
	}
	for _, k := range apps[2:] {
		w.applied(k, revision(2), 1)
	}
	w.quiet()
	calls := chat.got()
	if len(calls) != 2 || !regexp.MustCompile(`1 failed, 11 succeeded`).MatchString(calls[1].Body) {
		t.Errorf("%d messages, the last: %s", len(calls), calls[len(calls)-1].Body)
	}
}

// TestFailuresAlone: who wants failures alone gets them and their end, once each, and nothing of what works.
func TestFailuresAlone(t *testing.T) {
	w := newWorld(t, nil)
	chat := slackBot(newHost(t))
	w.slack("chat", chat, func(a *notifyv1.Alert) { a.Spec.EventSeverity = "error" }, "GitRepository", "Kustomization")
	repo := w.repository("repo")
	apps := w.apps(3, "repo")
	for n := 2; n < 5; n++ {
		w.revised(repo, revision(n-1), revision(n), "A change")
		w.rendered(apps[0], revision(n), n > 2)
		w.rendered(apps[1], revision(n), false)
		w.failed(apps[0], revision(n), meta.ReconciliationFailedReason, fmt.Sprint("no, at ", n)) // touched by the first commit alone
		w.applied(apps[1], revision(n), 1)
		w.applied(apps[2], revision(n), 0)
		w.quiet()
	}
	if calls := chat.got(); len(calls) != 1 || !strings.Contains(calls[0].Body, "app-000") {
		t.Fatalf("%d messages about a failure that lasts: %+v", len(calls), calls)
	}
	w.applied(apps[0], revision(4), 1)
	w.eventually("the end of the failure", func() bool { return len(chat.got()) == 2 })
	w.quiet()
	if calls := chat.got(); len(calls) != 2 || !strings.Contains(calls[1].Body, "recovered") {
		t.Errorf("%d messages, the last: %+v", len(calls), calls[len(calls)-1])
	}
}
