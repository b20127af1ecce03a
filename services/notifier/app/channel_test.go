package app

import (
	"strings"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/services/notifier/internal/handler"
)

// TestCommitStatusTellsTheTruth: pending once a commit touches an application, success only when it is applied, failure otherwise; nothing about
// applications that are not touched; and the last state, also when the host was away meanwhile. The names are Flux's, or those of an expression.
func TestCommitStatusTellsTheTruth(t *testing.T) {
	w := newWorld(t, func(s *handler.Sending) { s.Cluster = "prod" })
	host := newHost(t)
	host.set(func(c call) (int, string) {
		if c.Method == "GET" {
			return 200, "[]"
		}
		return 201, "{}"
	})
	spec := notifyv1.ProviderSpec{Type: "gitea", Address: host.URL + "/team/repo"}
	w.channel("status", spec, map[string]string{"token": "t0ken"}, nil, "GitRepository", "Kustomization")
	spec.CommitStatusExpr = "event.involvedObject.kind.lowerAscii() + '-' + event.involvedObject.name + '@' + alert.metadata.name"
	w.channel("named", spec, map[string]string{"token": "t0ken"}, nil, "Kustomization")
	repo := w.repository("repo")
	web, other, bad := w.app("web", "repo"), w.app("other", "repo"), w.app("bad", "repo")

	var first notifyv1.Provider
	w.do(w.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "status"}, &first))
	uid, _, _ := strings.Cut(string(first.UID), "-")
	states := func(context string) (list []string) {
		for _, c := range host.got() {
			if c.Method == "POST" && c.JSON("context") == context {
				hash := c.Path[strings.LastIndexByte(c.Path, '/')+1:]
				list = append(list, strings.TrimLeft(hash, "0")+" "+c.JSON("state").(string))
			}
		}
		return list
	}
	want := func(context, want string) {
		t.Helper()
		w.eventually(context+": "+want, func() bool { return strings.Join(states(context), ", ") == want })
	}
	w.revised(repo, revision(1), revision(2), "a change")
	w.rendered(web, revision(2), false)
	w.rendered(other, revision(2), true)
	w.rendered(bad, revision(2), false)
	want("prod/kustomization/web/"+uid, "2 pending")
	want("prod/kustomization/bad/"+uid, "2 pending")
	w.applied(web, revision(2), 1)
	w.applied(other, revision(2), 0)
	w.failed(bad, revision(2), meta.ReconciliationFailedReason, "no")
	want("prod/kustomization/web/"+uid, "2 pending, 2 success")
	want("prod/kustomization/bad/"+uid, "2 pending, 2 failure")
	want("kustomization-web@named", "2 pending, 2 success")
	w.quiet()

	answers := host.answer
	host.set(func(call) (int, string) { return 502, "away" })
	w.revised(repo, revision(2), revision(3), "another change")
	w.rendered(web, revision(3), false)
	w.eventually("a status that is not taken", func() bool { return host.refusals() > 0 })
	w.applied(web, revision(3), 1)
	host.set(answers)
	w.quiet()
	if got := states("prod/kustomization/web/" + uid); got[len(got)-1] != "3 success" {
		t.Errorf("after the host was away: %v", got)
	}
	for _, c := range host.got() {
		if strings.Contains(c.Body, "other") || strings.Contains(c.Body, "gitrepository") {
			t.Errorf("a status of what was not touched: %s", c.Body)
		}
	}
}

// TestThresholds: failures that end before they have lasted as long as an alert wants are told nowhere; those that last are, once, with their end.
func TestThresholds(t *testing.T) {
	w := newWorld(t, func(s *handler.Sending) { s.Clock = fastClock(60) })
	hook := newHost(t)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, func(a *notifyv1.Alert) {
		a.Annotations = map[string]string{"sluice.dev/notify-after": "3m"}
		a.Spec.EventSeverity = "error"
	}, "Kustomization")
	w.repository("repo")
	short, long := w.app("short", "repo"), w.app("long", "repo")
	began := time.Now()
	w.failed(short, revision(1), meta.ReconciliationFailedReason, "no")
	w.failed(long, revision(1), meta.ReconciliationFailedReason, "no")
	w.applied(short, revision(1), 1)
	w.eventually("the failure that lasts", func() bool { return len(hook.got()) == 1 })
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("it was told after %s", 60*took)
	}
	w.applied(long, revision(1), 1)
	w.eventually("its end", func() bool { return len(hook.got()) == 2 })
	w.quiet()
	for i, want := range []string{"error", "info"} {
		if c := hook.got()[i]; c.JSON("severity") != want || c.JSON("involvedObject", "name") != "long" {
			t.Errorf("message %d: %s", i, c.Body)
		}
	}
}

// TestBadSettings: what is wrong with an Alert or Provider is told by an Event on it, keeps nothing else from being told, and loses nothing.
func TestBadSettings(t *testing.T) {
	w := newWorld(t, nil)
	hook := newHost(t)
	generic := notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}
	w.channel("regex", generic, nil, func(a *notifyv1.Alert) { a.Spec.ExclusionList = []string{"(", "waiting"} }, "Kustomization")
	w.channel("annotation", generic, nil, func(a *notifyv1.Alert) {
		a.Annotations = map[string]string{"sluice.dev/notify-after": "soon", "sluice.dev/notify-template": "{{ .Nope"}
	}, "Kustomization")
	missing := generic
	missing.SecretRef = &meta.LocalObjectReference{Name: "missing"}
	w.channel("missing", missing, nil, nil, "Kustomization")
	w.channel("expression", notifyv1.ProviderSpec{Type: "github", Address: "https://github.com/team/repo", CommitStatusExpr: "1 +"}, map[string]string{"token": "t0ken"}, nil, "Kustomization")
	w.repository("repo")
	web := w.app("web", "repo")
	w.failed(web, revision(1), meta.ReconciliationFailedReason, "no")
	w.eventually("two messages", func() bool { return len(hook.got()) == 2 })
	for name, want := range map[string]string{"regex": "spec.exclusionList", "annotation": "notify-after", "missing": `secrets "missing" not found`, "expression": "commitStatusExpr"} {
		w.eventually("Event on "+name, func() bool { return strings.Contains(w.events(name)["InvalidConfig"], want) })
	}
	w.failed(web, revision(2), "HealthCheckFailed", "waiting for it") // excluded by the list of which another expression is bad
	w.eventually("one more message", func() bool { return len(hook.got()) == 3 })

	var p notifyv1.Provider
	w.do(w.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "missing"}, &p))
	before := p.DeepCopy()
	p.Spec.SecretRef = nil
	w.do(w.cluster.Client.Patch(t.Context(), &p, client.MergeFrom(before)))
	w.eventually("what waited for the Secret", func() bool { return len(hook.got()) == 5 })
}

// TestOtherNamespaces: alerts are told of other namespaces where they name them, and not where that is forbidden.
func TestOtherNamespaces(t *testing.T) {
	for _, forbidden := range []bool{false, true} {
		t.Run(map[bool]string{false: "allowed", true: "forbidden"}[forbidden], func(t *testing.T) {
			w := prepare(t, nil)
			w.noCross = forbidden
			hook := newHost(t)
			w.repository("repo")
			web := w.app("web", "repo")
			own := w.ns
			w.ns += "-other"
			w.do(w.cluster.Client.Create(t.Context(), namespace(w.ns)))
			w.repository("repo")
			near := w.app("near", "repo")
			w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, func(a *notifyv1.Alert) {
				elsewhere := a.Spec.EventSources[0]
				elsewhere.Namespace = own
				a.Spec.EventSources = append(a.Spec.EventSources, elsewhere)
			}, "Kustomization")
			w.run()
			w.failed(web, revision(1), meta.ReconciliationFailedReason, "no")
			w.failed(near, revision(1), meta.ReconciliationFailedReason, "no")
			want := map[bool]int{false: 2, true: 1}[forbidden]
			w.eventually("messages", func() bool { return len(hook.got()) == want })
			w.quiet()
			if got := hook.got(); len(got) != want || got[want-1].JSON("involvedObject", "name") != "near" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestTemplates: a template makes the text; one that goes wrong costs nothing but itself.
func TestTemplates(t *testing.T) {
	w := newWorld(t, nil)
	chat := slackBot(newHost(t))
	template := func(text string) func(*notifyv1.Alert) {
		return func(a *notifyv1.Alert) {
			a.Annotations = map[string]string{"sluice.dev/notify-template": text, "sluice.dev/notify-grouping": "off"}
		}
	}
	w.slack("good", chat, template("{{ range .Objects }}{{ .Name | upper }} is {{ .State }}{{ end }}\n{{ .Commit.Subject }} by {{ .Commit.Author }}"), "Kustomization")
	w.slack("endless", chat, template("{{ range 1000000000 }}{{ end }}"), "Kustomization")
	repo := w.repository("repo")
	web := w.app("web", "repo")
	w.revised(repo, revision(1), revision(2), "a change")
	w.rendered(web, revision(2), false)
	w.applied(web, revision(2), 1)
	w.eventually("two messages", func() bool { return len(chat.got()) == 2 })
	var all string
	for _, c := range chat.got() {
		all += c.Body
	}
	for _, want := range []string{"WEB is succeeded", "a change by Ann", "/web succeeded"} {
		if !strings.Contains(all, want) {
			t.Errorf("no message has %q: %s", want, all)
		}
	}
	w.eventually("an Event", func() bool { return strings.Contains(w.events("endless")["InvalidConfig"], "100ms") })
}

// TestMovedAndDeleted: what waits follows its alert to another Provider, and is forgotten with it.
func TestMovedAndDeleted(t *testing.T) {
	w := newWorld(t, nil)
	away, hook := newHost(t), newHost(t)
	away.set(func(call) (int, string) { return 500, "" })
	for _, name := range []string{"moved", "deleted"} {
		w.channel(name, notifyv1.ProviderSpec{Type: "generic", Address: away.URL}, nil, nil, "Kustomization")
	}
	w.create(&notifyv1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Spec: notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}})
	w.repository("repo")
	web := w.app("web", "repo")
	w.failed(web, revision(1), meta.ReconciliationFailedReason, "no")
	w.eventually("failures", func() bool { return away.refusals() >= 2 })
	var a notifyv1.Alert
	w.do(w.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "moved"}, &a))
	before := a.DeepCopy()
	a.Spec.ProviderRef.Name = "hook"
	w.do(w.cluster.Client.Patch(t.Context(), &a, client.MergeFrom(before)))
	w.do(w.cluster.Client.Delete(t.Context(), &notifyv1.Alert{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "deleted"}}))
	w.eventually("the message elsewhere", func() bool { return len(hook.got()) == 1 })
	w.quiet()
}
