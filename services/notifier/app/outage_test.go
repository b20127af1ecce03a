package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

// fastClock goes so many times as fast as everybody's.
func fastClock(speed float64) handler.Clock {
	start := time.Now()
	of := func(t time.Time) time.Time { return start.Add(time.Duration(speed * float64(t.Sub(start)))) }
	return handler.Clock{
		Now: func() time.Time { return of(time.Now()) }, Of: of,
		Wait: func(d time.Duration) time.Duration { return time.Duration(float64(d) / speed) },
	}
}

// TestAnHourOfOutage: while services are away for an hour by the clock, commits and failures go on. Afterwards a system that takes events has got
// each of them, once and in order for each object; a chat has few messages, which say how it is now; nobody was asked without end meanwhile.
func TestAnHourOfOutage(t *testing.T) {
	const speed = 300 // an hour is 12 seconds
	w := newWorld(t, func(s *handler.Sending) { s.Clock = fastClock(speed) })
	hook, chat := newHost(t), slackBot(newHost(t))
	answers := chat.answer
	away := func(call) (int, string) { return 500, "away" }
	hook.set(away)
	chat.set(away)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, nil, "GitRepository", "Kustomization")
	w.slack("chat", chat, nil, "GitRepository", "Kustomization")
	repo := w.repository("repo")
	apps := w.apps(10, "repo")

	began, n := time.Now(), 1
	want := map[string][]string{}
	note := func(k *kustomizev1.Kustomization, word string, n int) {
		want[k.Name] = append(want[k.Name], fmt.Sprint(word, " ", revision(n)))
	}
	for ; time.Since(began) < time.Hour/speed; n++ {
		w.revised(repo, revision(n), revision(n+1), fmt.Sprint("change ", n))
		for i, k := range apps {
			w.rendered(k, revision(n+1), false)
			if i == 3 && n%2 == 1 {
				w.failed(k, revision(n+1), meta.ReconciliationFailedReason, "no")
				note(k, "error", n+1)
				continue
			}
			w.applied(k, revision(n+1), 1)
			note(k, "info", n+1)
		}
		time.Sleep(200 * time.Millisecond) // a minute: this is the pace of the story, nothing is waited for
	}
	if n%2 == 0 { // the last one failed
		w.revised(repo, revision(n), revision(n+1), "the last")
		n++
		for _, k := range apps {
			w.rendered(k, revision(n), false)
			w.applied(k, revision(n), 1)
			note(k, "info", n)
		}
	}
	if tries := hook.refusals(); tries < 3 || tries > 100 {
		t.Errorf("the hook was asked %d times within the hour", tries)
	}
	if tries := chat.refusals(); tries < 3 || tries > 100 {
		t.Errorf("the chat was asked %d times within the hour", tries)
	}
	last := apps[len(apps)-1].Name
	w.eventually("the last letter", func() bool {
		letters, err := w.bus.Letters(t.Context(), bus.StreamOutbox, noChannel, true)
		return err == nil && slices.ContainsFunc(letters, func(l bus.Letter) bool {
			return l.Channel.Name == "chat" && strings.HasSuffix(l.About, last) && strings.Contains(string(l.Data), "Applied revision: "+revision(n))
		})
	})
	hook.set(func(call) (int, string) { return 200, "" })
	chat.set(answers)
	w.quiet()

	got := map[string][]string{}
	for _, c := range hook.got() {
		name, _ := c.JSON("involvedObject", "name").(string)
		got[name] = append(got[name], fmt.Sprint(c.JSON("severity"), " ", c.JSON("metadata", "revision")))
	}
	for name, list := range want {
		if !slices.Equal(got[name], list) {
			t.Errorf("%s: the hook got\n%s\nwant\n%s", name, strings.Join(got[name], "\n"), strings.Join(list, "\n"))
		}
	}
	calls := chat.got()
	if len(calls) == 0 || len(calls) > 5 {
		t.Fatalf("the chat got %d messages about %d commits", len(calls), n)
	}
	for i, c := range calls {
		many := strings.Contains(c.Body, " commits: ") // stands for many commits, and so tells how it is now
		if (many || i == len(calls)-1) && strings.Contains(c.Body, "1 failed") {
			t.Errorf("the chat is told of a failure that is over: %s", c.Body)
		}
	}
	t.Logf("%d commits in an hour of outage: %d events to the hook after %d tries, %d messages to the chat after %d",
		n, len(hook.got()), hook.refusals(), len(calls), chat.refusals())
	if list, err := w.bus.Letters(t.Context(), bus.StreamDead, noChannel, false); err != nil || len(list) != 0 {
		t.Errorf("dead letters: %d, %v", len(list), err)
	}
}

// TestWhatIsRefusedCanBeSentAgain: what a service refuses becomes a dead letter at once, what it does not take for too long does then, and both
// are sent again when somebody asks for it; other messages go on meanwhile.
func TestWhatIsRefusedCanBeSentAgain(t *testing.T) {
	w := newWorld(t, func(s *handler.Sending) { s.Clock = fastClock(20_000); s.MaxAge = 24 * time.Hour })
	hook := newHost(t)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL + "/secret-path"}, nil, nil, "Kustomization")
	w.repository("repo")
	bad, slow, good := w.app("bad", "repo"), w.app("slow", "repo"), w.app("good", "repo")
	hook.set(func(c call) (int, string) {
		switch c.JSON("involvedObject", "name") {
		case "bad":
			return 422, `{"message":"no such thing"}`
		case "slow":
			return 500, "later"
		}
		return 200, ""
	})
	w.failed(bad, revision(1), meta.ReconciliationFailedReason, "no")
	w.failed(slow, revision(1), meta.ReconciliationFailedReason, "no")
	w.failed(good, revision(1), meta.ReconciliationFailedReason, "no")
	var dead []bus.Letter
	w.eventually("two dead letters", func() bool {
		var err error
		dead, err = w.bus.Letters(t.Context(), bus.StreamDead, noChannel, true)
		return err == nil && len(dead) == 2
	})
	if !strings.Contains(dead[0].Reason, "no such thing") || !strings.Contains(dead[1].Reason, "500") || strings.Contains(dead[1].Reason, "secret-path") {
		t.Errorf("reasons: %q, %q", dead[0].Reason, dead[1].Reason)
	}
	if calls := hook.got(); len(calls) != 1 || calls[0].JSON("involvedObject", "name") != "good" {
		t.Errorf("messages that were taken: %+v", calls)
	}
	if events := w.events("hook"); !strings.Contains(events["NotificationDispatchFailed"], "fail") {
		t.Errorf("no Event says so: %v", events)
	}
	// Later changes of the same objects go on, and do not make the dead ones obsolete.
	hook.set(func(call) (int, string) { return 200, "" })
	w.applied(bad, revision(2), 1)
	w.applied(slow, revision(2), 1)
	w.eventually("the later changes", func() bool { return len(hook.got()) == 3 })
	w.do(w.bus.Resend(t.Context(), dead))
	w.do(stage.Wake(t.Context(), w.bus, state.StageNotify, dead[0].Channel, stage.Hint{Cause: "resent"}))
	w.eventually("the dead letters", func() bool { return len(hook.got()) == 5 })
	w.quiet()
	if list, err := w.bus.Letters(t.Context(), bus.StreamDead, noChannel, false); err != nil || len(list) != 0 {
		t.Errorf("dead letters after they were sent again: %v, %v", list, err)
	}
}
