package app

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

// slowly answers after a while, and counts how many requests are under way at once.
func slowly(h *host, takes time.Duration) (most *atomic.Int64) {
	var now atomic.Int64
	most = &atomic.Int64{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = func() {
		for n := now.Add(1); ; {
			was := most.Load()
			if n <= was || most.CompareAndSwap(was, n) {
				break
			}
		}
		time.Sleep(takes) // this is how long the host takes
		now.Add(-1)
	}
	return most
}

// TestManyAtOnce: statuses of many objects are set several at once, those of one object in order; what cannot be told twice without being seen twice is told
// one by one.
func TestManyAtOnce(t *testing.T) {
	w := prepare(t, nil)
	git, hook := newHost(t), newHost(t)
	git.set(func(c call) (int, string) {
		if c.Method == "GET" {
			return 200, "[]"
		}
		return 201, "{}"
	})
	statuses, events := slowly(git, 20*time.Millisecond), slowly(hook, 20*time.Millisecond)
	w.channel("status", notifyv1.ProviderSpec{Type: "gitea", Address: git.URL + "/team/repo"}, map[string]string{"token": "t0ken"}, nil, "Kustomization")
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, nil, "Kustomization")
	w.run()
	repo := w.repository("repo")
	apps := w.apps(40, "repo")
	w.revised(repo, revision(1), revision(2), "a change")
	for _, k := range apps {
		w.rendered(k, revision(2), false)
	}
	for _, k := range apps {
		w.applied(k, revision(2), 1)
	}
	w.quiet()
	last := map[string]string{}
	for _, c := range git.got() {
		if c.Method == "POST" {
			name, _ := c.JSON("context").(string)
			last[name] = strings.TrimSpace(last[name] + fmt.Sprint(" ", c.JSON("state")))
		}
	}
	for name, states := range last {
		if states != "pending success" && states != "success" {
			t.Errorf("%s: %s", name, states)
		}
	}
	if len(last) != len(apps) || len(hook.got()) != len(apps) {
		t.Errorf("%d statuses, %d events about %d applications", len(last), len(hook.got()), len(apps))
	}
	if n := statuses.Load(); n < 4 || n > 8 {
		t.Errorf("%d requests for statuses were under way at once", n)
	}
	if n := events.Load(); n != 1 {
		t.Errorf("%d events were under way at once", n)
	}
}

// TestManyAtOnceWhileDown: a host that is away is not asked by all of them again and again, and nothing is lost.
func TestManyAtOnceWhileDown(t *testing.T) {
	w := prepare(t, func(s *handler.Sending) { s.Clock = fastClock(10) })
	git := newHost(t)
	git.set(func(call) (int, string) { return 502, "away" })
	w.channel("status", notifyv1.ProviderSpec{Type: "gitea", Address: git.URL + "/team/repo"}, map[string]string{"token": "t0ken"}, nil, "Kustomization")
	w.run()
	repo := w.repository("repo")
	apps := w.apps(40, "repo")
	w.revised(repo, revision(1), revision(2), "a change")
	for _, k := range apps {
		w.applied(k, revision(2), 1)
	}
	w.eventually("the host is asked three times", func() bool { return git.refusals() >= 3 })
	if n := git.refusals(); n > 40 {
		t.Errorf("asked %d times", n)
	}
	git.set(func(c call) (int, string) {
		if c.Method == "GET" {
			return 200, "[]"
		}
		return 201, "{}"
	})
	w.quiet()
	posts := 0
	for _, c := range git.got() {
		if c.Method == "POST" {
			posts++
		}
	}
	if posts != len(apps) {
		t.Errorf("%d statuses of %d applications", posts, len(apps))
	}
}
