package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

// TestThereAndBack: who goes back to a commit of a minute ago is told so, by a system that takes events and by a chat.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t, nil)
	hook, chat := newHost(t), slackBot(newHost(t))
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, nil, "GitRepository", "Kustomization")
	w.slack("chat", chat, nil, "Kustomization")
	repo := w.repository("repo")
	web := w.app("web", "repo")
	var want []string
	for i, n := range []int{1, 2, 1, 2} {
		w.revised(repo, revision(3-n), revision(n), "a change")
		w.rendered(web, revision(n), false)
		w.applied(web, revision(n), 1)
		want = append(want, "GitRepository "+revision(n), "Kustomization "+revision(n))
		w.eventually("the chat is told", func() bool {
			posts := 0
			for _, c := range chat.got() {
				if strings.HasSuffix(c.Path, "postMessage") && strings.Contains(c.Body, "succeeded") {
					posts++
				}
			}
			return posts == i+1
		})
	}
	w.quiet()
	var got []string
	keys := map[string]bool{}
	for _, c := range hook.got() {
		got = append(got, c.JSON("involvedObject", "kind").(string)+" "+c.JSON("metadata", "revision").(string))
		keys[c.Header.Get("Idempotency-Key")] = true
	}
	if !slices.Equal(got, want) || len(keys) != len(want) {
		t.Errorf("%d keys, events\n%s\nwant\n%s", len(keys), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAwayAndBack: what waits follows its alert to another Provider and back to the first.
func TestAwayAndBack(t *testing.T) {
	w := newWorld(t, nil)
	host := newHost(t)
	host.set(func(call) (int, string) { return 500, "" })
	w.create(&notifyv1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: notifyv1.ProviderSpec{Type: "generic", Address: host.URL}})
	w.channel("first", notifyv1.ProviderSpec{Type: "generic", Address: host.URL}, nil, nil, "Kustomization")
	w.repository("repo")
	web := w.app("web", "repo")
	w.failed(web, revision(1), meta.ReconciliationFailedReason, "no")
	at := func(name string) func() bool {
		return func() bool {
			letters, err := w.bus.Letters(t.Context(), bus.StreamOutbox, noChannel, false)
			return err == nil && len(letters) == 1 && letters[0].Channel.Name == name
		}
	}
	w.eventually("it waits at first", at("first"))
	for _, name := range []string{"other", "first", "other", "first"} {
		var a notifyv1.Alert
		w.do(w.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "first"}, &a))
		before := a.DeepCopy()
		a.Spec.ProviderRef.Name = name
		w.do(w.cluster.Client.Patch(t.Context(), &a, client.MergeFrom(before)))
		w.eventually("it waits at "+name, at(name))
	}
	host.set(func(call) (int, string) { return 200, "" })
	w.quiet()
	if got := host.got(); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

// TestALoginThatIsMended: nothing becomes a dead letter because a chat's token was rotated.
func TestALoginThatIsMended(t *testing.T) {
	w := newWorld(t, nil)
	chat := newHost(t)
	answers := slackBot(chat).answer
	chat.set(func(call) (int, string) { return 200, `{"ok":false,"error":"token_expired"}` })
	w.slack("chat", chat, nil, "Kustomization")
	w.repository("repo")
	web := w.app("web", "repo")
	w.failed(web, revision(1), meta.ReconciliationFailedReason, "no")
	w.eventually("an Event about it", func() bool { return strings.Contains(w.events("chat")[reasonFailed], "token_expired") })
	chat.set(answers)
	w.quiet()
	if dead, err := w.bus.Letters(t.Context(), bus.StreamDead, noChannel, false); err != nil || len(dead) != 0 {
		t.Errorf("dead letters: %d, %v", len(dead), err)
	}
}

const reasonFailed = "NotificationDispatchFailed"

// TestListsAndEnds: who was not told of a failure because of a list is not told of its end.
func TestListsAndEnds(t *testing.T) {
	w := newWorld(t, nil)
	hook := newHost(t)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, func(a *notifyv1.Alert) {
		a.Spec.InclusionList = []string{"^drift", "quota"}
	}, "Kustomization")
	w.repository("repo")
	web, other := w.app("web", "repo"), w.app("other", "repo")
	w.failed(web, revision(1), meta.ReconciliationFailedReason, "not wanted")
	w.failed(other, revision(1), meta.ReconciliationFailedReason, "over quota")
	w.applied(web, revision(1), 1)
	w.applied(other, revision(1), 1)
	w.eventually("failure and end", func() bool { return len(hook.got()) == 2 })
	w.quiet()
	for _, c := range hook.got() {
		if c.JSON("involvedObject", "name") != "other" {
			t.Errorf("told: %s", c.Body)
		}
	}
}

// TestUnknownKinds: an Alert for what is never told of says so.
func TestUnknownKinds(t *testing.T) {
	w := newWorld(t, nil)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: "http://127.0.0.1:1"}, nil, nil, "Kustomization", "HelmRelease")
	w.eventually("an Event", func() bool { return strings.Contains(w.events("hook")["InvalidConfig"], `"HelmRelease"`) })
}

// TestTheClusterIsNamed: systems that take events are told which cluster they come from, unless an Alert says that itself.
func TestTheClusterIsNamed(t *testing.T) {
	w := newWorld(t, func(s *handler.Sending) { s.Cluster = "prod" })
	hook := newHost(t)
	generic := notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}
	w.channel("plain", generic, nil, nil, "Kustomization")
	w.channel("own", generic, nil, func(a *notifyv1.Alert) { a.Spec.EventMetadata = map[string]string{"cluster": "mine"} }, "Kustomization")
	w.repository("repo")
	w.failed(w.app("web", "repo"), revision(1), meta.ReconciliationFailedReason, "no")
	w.quiet()
	var got []string
	for _, c := range hook.got() {
		got = append(got, fmt.Sprint(c.JSON("metadata", "cluster")))
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"mine", "prod"}) {
		t.Errorf("clusters: %v", got)
	}
}

// TestTheBusIsLost: what all services tell again when the bus forgot everything is no news; what changed meanwhile is.
func TestTheBusIsLost(t *testing.T) {
	w := newWorld(t, nil)
	hook, git := newHost(t), newHost(t)
	git.set(func(c call) (int, string) { return 200, map[bool]string{true: "[]", false: "{}"}[c.Method == "GET"] })
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, nil, "Kustomization")
	w.channel("status", notifyv1.ProviderSpec{Type: "gitea", Address: git.URL + "/team/repo"}, map[string]string{"token": "t0ken"}, nil, "Kustomization")
	repo := w.repository("repo")
	apps := w.apps(4, "repo")
	for _, k := range apps { // as it was when the bus was there
		before := k.DeepCopy()
		k.Status.LastAppliedRevision = revision(2)
		w.do(w.cluster.Client.Status().Patch(t.Context(), k, client.MergeFrom(before)))
	}
	w.eventually("the notifier sees that", func() bool {
		var k kustomizev1.Kustomization
		return w.caches.Cache.Get(t.Context(), client.ObjectKeyFromObject(apps[3]), &k) == nil && k.Status.LastAppliedRevision == revision(2)
	})
	w.revised(repo, revision(2), revision(2), "a change of yesterday")
	for i, k := range apps {
		w.rendered(k, revision(2), false)
		changed := int32(0)
		if i == 3 {
			changed = 1
		}
		w.applied(k, revision(2), changed)
	}
	w.eventually("the one that changed", func() bool { return len(hook.got()) > 0 })
	w.quiet()
	if got := hook.got(); len(got) != 1 || got[0].JSON("involvedObject", "name") != apps[3].Name {
		t.Errorf("%d events: %+v", len(got), got)
	}
	for _, c := range git.got() {
		if c.Method == "POST" && !strings.Contains(c.Body, apps[3].Name) {
			t.Errorf("status of what did not change: %s", c.Body)
		}
	}
}

// TestAStuckApplicationHoldsNobodyUp: that one waits for another that failed keeps no commit's message back, and neither does one that still waits for health
// of a commit before.
func TestAStuckApplicationHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, nil)
	chat := newHost(t)
	chat.set(func(call) (int, string) { return 200, "ok" })
	repo := w.repository("repo")
	broken, slow, web := w.app("broken", "repo"), w.app("slow", "repo"), w.app("web", "repo")
	for i := range 2 { // one depends on the other, and that on the broken one
		k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("dependant-", i)}, Spec: *broken.Spec.DeepCopy()}
		k.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: map[int]string{0: "broken", 1: "dependant-0"}[i]}}
		w.create(k)
		w.status(k, revision(2), metav1.ConditionFalse, meta.DependencyNotReadyReason)
	}
	w.status(broken, revision(2), metav1.ConditionFalse, meta.ReconciliationFailedReason)
	w.status(slow, revision(2), metav1.ConditionUnknown, meta.ProgressingReason)
	w.channel("chat", notifyv1.ProviderSpec{Type: "slack", Address: chat.URL + "/services/T/B/X"}, nil, nil, "Kustomization")
	w.revised(repo, revision(1), revision(2), "a change")
	w.rendered(web, revision(2), false)
	w.applied(web, revision(2), 1)
	w.eventually("the message", func() bool { return len(chat.got()) == 1 })
	w.quiet()
}

// TestAnAlertInTheMiddleOfAnIncident: who makes an alert while something fails is told so, once, and of its end.
func TestAnAlertInTheMiddleOfAnIncident(t *testing.T) {
	w := newWorld(t, nil)
	hook := newHost(t)
	generic := notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}
	w.channel("before", generic, nil, nil, "Kustomization")
	w.repository("repo")
	bad, good := w.app("bad", "repo"), w.app("good", "repo")
	w.failed(bad, revision(1), meta.ReconciliationFailedReason, "no")
	w.applied(good, revision(1), 1)
	w.eventually("who was there before is told", func() bool { return len(hook.got()) == 2 })
	w.channel("after", generic, nil, nil, "Kustomization")
	w.eventually("who came later is told what fails", func() bool { return len(hook.got()) == 3 })
	if c := hook.got()[2]; c.JSON("involvedObject", "name") != "bad" || c.JSON("severity") != "error" || c.JSON("reason") != meta.ReconciliationFailedReason {
		t.Errorf("it is told %s", c.Body)
	}
	w.run() // again
	w.applied(bad, revision(1), 1)
	w.eventually("both are told of the end", func() bool { return len(hook.got()) == 5 })
	w.quiet()
	if n := len(hook.got()); n != 5 {
		t.Errorf("%d messages", n)
	}
}
