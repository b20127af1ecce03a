package update

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
)

// ready is a world with one file, one policy and one automation, in which 1.0.0 runs.
func ready(t *testing.T, change ...func(*automationv1.ImageUpdateAutomation)) *world {
	w := newWorld(t, gittest.Options{})
	w.commit("first", map[string]string{"web.yaml": deployment})
	w.start()
	w.source()
	w.policy("web", ">=1.0.0")
	w.automation(change...)
	return w
}

func (w *world) runs(tag string) bool { return strings.Contains(w.file("web.yaml"), "web:"+tag+`"`) }

func TestAChoiceBecomesACommit(t *testing.T) {
	t.Parallel()
	w := ready(t, func(a *automationv1.ImageUpdateAutomation) {
		a.Spec.GitSpec.Commit.MessageTemplate = "{{ .AutomationObject.Name }}: {{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }}{{ end }} {{ .Values.k }}"
		a.Spec.GitSpec.Commit.MessageTemplateValues = map[string]string{"k": "[ci skip]"}
	})
	first := w.gitOut("rev-parse", "main")
	w.choose("web", "1.1.0")
	w.until("a commit", func() bool { return w.get().Status.LastPushCommit != "" })
	want := strings.ReplaceAll(strings.ReplaceAll(deployment, "NS", w.namespace), "web:1.0.0", "web:1.1.0")
	if diff := cmp.Diff(strings.TrimSpace(want), w.file("web.yaml")); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	head := w.gitOut("rev-parse", "main")
	if parent := w.gitOut("rev-parse", "main^"); parent != first {
		t.Errorf("the commit stands on %s; want %s", parent, first)
	}
	if got, want := w.gitOut("log", "-1", "--format=%an <%ae> %s", "main"), "bot <bot@example.com> auto: ghcr.io/org/web:1.0.0 -> ghcr.io/org/web:1.1.0 [ci skip]"; got != want {
		t.Errorf("commit is %q; want %q", got, want)
	}
	s := w.get().Status
	if s.LastPushCommit != head || s.LastPushTime == nil || s.LastAutomationRunTime == nil || s.ObservedSourceRevision != "main@sha1:"+head || s.ObservedGeneration != 1 {
		t.Errorf("status is %+v", s)
	}
	if diff := cmp.Diff(automationv1.ObservedPolicies{"web": {Name: "ghcr.io/org/web", Tag: "1.1.0"}}, s.ObservedPolicies); diff != "" {
		t.Errorf("observed policies: %s", diff)
	}
	if c := w.condition(meta.ReadyCondition); c.Status != metav1.ConditionTrue || c.Reason != meta.SucceededReason || c.Message != "repository up-to-date" {
		t.Errorf("Ready is %+v", c)
	}
	w.request()
	if now := w.gitOut("rev-parse", "main"); now != head {
		t.Error("a run with nothing to change made a commit")
	}
}

func TestManyChoicesAreOneCommit(t *testing.T) {
	t.Parallel()
	const n = 30
	w := newWorld(t, gittest.Options{})
	w.quiet *= 20
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("app-%d.yaml", i)] = fmt.Sprintf("image: ghcr.io/org/app-%d:1.0.0 # {\"$imagepolicy\": \"NS:app-%d\"}\n", i, i)
	}
	w.commit("first", files)
	w.start()
	w.source()
	for i := range n {
		w.policy(fmt.Sprintf("app-%d", i), "*")
	}
	w.automation()
	for i := range n {
		w.choose(fmt.Sprintf("app-%d", i), "2.0.0")
	}
	w.until("all are written", func() bool {
		out, _ := w.repo.Git(t.Context(), nil, "grep", "-c", ":2.0.0", "main")
		return strings.Count(out, ".yaml") == n
	})
	if got := w.gitOut("rev-list", "--count", "main"); got != "2" {
		t.Errorf("%s commits; want the first and one more", got)
	}
}

func TestNeverDowngradesUnasked(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.choose("web", "2.0.0")
	w.until("2.0.0", func() bool { return w.runs("2.0.0") })
	w.choose("web", "1.5.0")
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonDowngrade })
	if !w.runs("2.0.0") {
		t.Fatal("downgraded")
	}
	if c := w.condition(meta.ReadyCondition); c.Status != metav1.ConditionTrue || c.Message != "repository up-to-date, 1 held (see condition Held)" {
		t.Errorf("Ready is %+v; a hold is no failure, and told where people look", c)
	}
	// A person who asks for older versions gets them.
	p := &imagev1.ImagePolicy{}
	if err := w.client.Get(t.Context(), w.key("web"), p); err != nil {
		t.Fatal(err)
	}
	p.Spec.Policy.SemVer.Range = "1.x"
	if err := w.client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.choose("web", "1.5.0")
	w.until("1.5.0, as asked", func() bool { return w.runs("1.5.0") })
	w.until("the hold is gone", func() bool { return w.condition(heldCondition).Reason == "" })
	w.choose("web", "1.4.0")
	w.until("another hold", func() bool { return w.condition(heldCondition).Reason == reasonDowngrade })
}

func TestARollbackStands(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]bool{"with the bus": false, "after the bus lost everything": true} {
		t.Run(name, func(t *testing.T) {
			w := ready(t)
			w.choose("web", "1.1.0")
			w.until("1.1.0", func() bool { return w.runs("1.1.0") && w.get().Status.ObservedPolicies["web"].Tag == "1.1.0" })
			w.commit("back", map[string]string{"web.yaml": deployment})
			if lose {
				w.server.Restart(true)
				w.choose("web", "1.1.0")
			}
			w.request()
			w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonRolledBack })
			w.request()
			if !w.runs("1.0.0") {
				t.Fatal("the version that was set back was written again")
			}
			if lose {
				w.server.Restart(true)
				w.choose("web", "1.1.0")
				w.request()
				if !w.runs("1.0.0") {
					t.Fatal("the hold was lost with the bus")
				}
			}
			w.choose("web", "1.1.1")
			w.until("a newer version", func() bool { return w.runs("1.1.1") })
			w.until("the hold is gone", func() bool {
				return w.condition(heldCondition).Reason == "" && w.get().Annotations[holdsAnnotation] == ""
			})
		})
	}
}

// TestAnotherVersionMayTakeTheReverted: who sets a version back and then asks for another one below it gets that; the one that was set back
// does not come with the next change of the rule.
func TestAnotherVersionMayTakeTheReverted(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.choose("web", "2.0.0")
	w.until("2.0.0", func() bool { return w.runs("2.0.0") && w.get().Status.ObservedPolicies["web"].Tag == "2.0.0" })
	w.commit("back", map[string]string{"web.yaml": deployment})
	w.request()
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonRolledBack })
	w.changePolicy(func(p *imagev1.ImagePolicy) { p.Spec.Policy.SemVer.Range = "1.x" })
	w.choose("web", "1.5.0")
	w.until("1.5.0, as asked", func() bool { return w.runs("1.5.0") })
	w.until("the hold is not shown", func() bool { return w.condition(heldCondition).Reason == "" })
	w.changePolicy(func(p *imagev1.ImagePolicy) { p.Spec.Policy.SemVer.Range = "*" })
	w.choose("web", "2.0.0")
	w.until("a hold again", func() bool { return w.condition(heldCondition).Reason == reasonRolledBack })
	if !w.runs("1.5.0") {
		t.Error("the version that was set back was written again")
	}
}

// TestARollbackStandsInANewCluster: nobody there has ever written anything, but the history of the files is the same.
func TestARollbackStandsInANewCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	w.commit("first", map[string]string{"web.yaml": deployment})
	w.commit("by another", map[string]string{"web.yaml": strings.ReplaceAll(deployment, "web:1.0.0", "web:1.1.0")})
	w.commit("back", map[string]string{"web.yaml": deployment})
	w.start()
	w.source()
	w.automation()
	w.until("a run that found no policy", func() bool { return w.get().Status.ObservedGeneration == 1 })
	w.policy("web", ">=1.0.0")
	w.choose("web", "1.1.0")
	w.until("a hold", func() bool { return w.condition(heldCondition).Reason == reasonRolledBack })
	if !w.runs("1.0.0") {
		t.Fatal("the version that was set back was written again")
	}
	w.choose("web", "1.1.1")
	w.until("a newer version", func() bool { return w.runs("1.1.1") })
}

// TestTheOwnWayDownIsNoRollback: what the automation took away itself, because its policy was to go down then, may come again.
func TestTheOwnWayDownIsNoRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	for _, c := range []struct{ author, tag string }{{"jane <jane@example.com>", "1.1.0"}, {"bot <bot@example.com>", "1.0.0"}} {
		text := strings.ReplaceAll(strings.ReplaceAll(deployment, "web:1.0.0", "web:"+c.tag), "NS", w.namespace)
		if _, err := w.repo.Commit(t.Context(), gittest.Commit{Branch: "main", Author: c.author, Files: map[string]string{"web.yaml": text}}); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.source()
	w.policy("web", ">=1.0.0")
	w.automation()
	w.choose("web", "1.1.0")
	w.until("1.1.0", func() bool { return w.runs("1.1.0") })
}

func TestANewFileWithAnOldVersionIsNoRollback(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.choose("web", "1.1.0")
	w.until("1.1.0", func() bool { return w.runs("1.1.0") })
	w.commit("another", map[string]string{"other.yaml": "image: ghcr.io/org/web:1.0.0 # {\"$imagepolicy\": \"NS:web\"}\n"})
	w.request()
	w.until("the new file follows", func() bool { return strings.Contains(w.file("other.yaml"), "1.1.0") })
}

func TestLocksAndHolds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		notes  map[string]string
		chosen func(*state.Chosen)
		reason string
		says   string
	}{
		"hold":         {notes: map[string]string{holdAnnotation: "incident 7"}, reason: reasonOnHold, says: "incident 7"},
		"hold until":   {notes: map[string]string{holdAnnotation: "freeze", holdUntilAnnotation: "2999-01-01T00:00:00Z"}, reason: reasonOnHold, says: "2999"},
		"odd until":    {notes: map[string]string{holdAnnotation: "freeze", holdUntilAnnotation: "tomorrow"}, reason: reasonOnHold, says: "cannot be read"},
		"hold is over": {notes: map[string]string{holdAnnotation: "freeze", holdUntilAnnotation: "2001-01-01T00:00:00Z"}},
		"locked":       {notes: map[string]string{"fluxcd.io/locked": "true", "fluxcd.io/locked_user": "jane", "fluxcd.io/locked_msg": "demo"}, reason: reasonLocked, says: "jane: demo"},
		"by the scan":  {chosen: func(c *state.Chosen) { c.Held, c.HeldReason = "the listing shrank", "TagsVanished" }, reason: "TagsVanished", says: "shrank"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Options{})
			w.commit("first", map[string]string{"web.yaml": deployment})
			w.start()
			w.source()
			w.policy("web", "*", func(p *imagev1.ImagePolicy) { p.Annotations = c.notes })
			w.automation()
			if c.chosen == nil {
				c.chosen = func(*state.Chosen) {}
			}
			w.choose("web", "1.1.0", c.chosen)
			if c.reason == "" {
				w.until("an update", func() bool { return w.runs("1.1.0") })
				return
			}
			w.until("a hold", func() bool {
				held := w.condition(heldCondition)
				return held.Reason == c.reason && strings.Contains(held.Message, c.says)
			})
			if !w.runs("1.0.0") {
				t.Error("written all the same")
			}
		})
	}
}

func TestFaultsAreTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server gittest.Options
		files  map[string]string
		repo   func(*world)
		source func(*sourcev1.GitRepository)
		auto   func(*automationv1.ImageUpdateAutomation)
		reason string
		stall  bool
	}{
		"no source":        {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.SourceRef.Name = "none" }, reason: automationv1.SourceManagerFailedReason},
		"no branch":        {source: func(r *sourcev1.GitRepository) { r.Spec.Reference.Branch = "none" }, reason: automationv1.GitOperationFailedReason},
		"wrong password":   {server: gittest.Options{Username: "jane", Password: "x"}, reason: sourcev1.AuthenticationFailedReason},
		"read-only":        {repo: func(w *world) { _ = w.repo.ReadOnly(w.Context(), true) }, reason: reasonReadOnly},
		"protected":        {repo: hook("echo 'GH006: Protected branch update failed' >&2; exit 1"), reason: reasonProtected},
		"declined":         {repo: hook("echo no >&2; exit 1"), reason: reasonDeclined},
		"unknown policy":   {files: map[string]string{"x.yaml": "image: a:1 # {\"$imagepolicy\": \"NS:none\"}\n"}, reason: "UnknownPolicy"},
		"misplaced marker": {files: map[string]string{"x.yaml": "a:\n  # {\"$imagepolicy\": \"NS:web\"}\n"}, reason: "MisplacedMarker"},
		"malformed marker": {files: map[string]string{"x.yaml": "image: a:1 # {\"$imagepolicy\": \"web\"}\n"}, reason: "MalformedMarker"},
		"no push options": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Push = &automationv1.PushSpec{Options: map[string]string{"ci.skip": ""}}
		}, reason: reasonOptions},
		"forced refspec": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Push = &automationv1.PushSpec{Refspec: "refs/heads/main:+refs/heads/other"}
		}, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"deleting refspec": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Push = &automationv1.PushSpec{Refspec: "refs/heads/main:"}
		}, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"bad branch": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Push = &automationv1.PushSpec{Branch: "x\n+main"}
		}, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"bad group": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Annotations = map[string]string{requestAnnotation: "gitea", groupAnnotation: "regex:("}
		}, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"no such path":  {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.Update.Path = "./none" }, reason: automationv1.UpdateFailedReason},
		"path outside":  {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.Update.Path = "../../etc" }, reason: automationv1.UpdateFailedReason},
		"bad template":  {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.GitSpec.Commit.MessageTemplate = "{{" }, reason: automationv1.UpdateFailedReason, stall: true},
		"removed field": {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.GitSpec.Commit.MessageTemplate = "{{ .Updated }}" }, reason: automationv1.RemovedTemplateFieldReason, stall: true},
		"bad selector": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.PolicySelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": strings.Repeat("x", 80)}}
		}, reason: automationv1.InvalidPolicySelectorReason, stall: true},
		"a tag, no branch": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Checkout = &automationv1.GitCheckoutSpec{Reference: sourcev1.GitRepositoryRef{Tag: "v1"}}
		}, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"no git": {auto: func(a *automationv1.ImageUpdateAutomation) { a.Spec.GitSpec = nil }, reason: automationv1.InvalidSourceConfigReason, stall: true},
		"no signing key": {auto: func(a *automationv1.ImageUpdateAutomation) {
			a.Spec.GitSpec.Commit.SigningKey = &automationv1.SigningKey{SecretRef: meta.LocalObjectReference{Name: "none"}}
		}, reason: automationv1.SourceManagerFailedReason},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.server)
			files := map[string]string{"web.yaml": deployment}
			for k, v := range c.files {
				files[k] = v
			}
			w.commit("first", files)
			if c.repo != nil {
				c.repo(w)
			}
			first := w.gitOut("rev-parse", "main")
			w.start()
			if c.source == nil {
				c.source = func(*sourcev1.GitRepository) {}
			}
			if c.auto == nil {
				c.auto = func(*automationv1.ImageUpdateAutomation) {}
			}
			w.source(c.source)
			w.policy("web", "*")
			w.choose("web", "1.1.0")
			w.automation(c.auto)
			w.until("the reason "+c.reason, func() bool {
				r := w.condition(meta.ReadyCondition)
				return r.Status == metav1.ConditionFalse && r.Reason == c.reason
			})
			w.until("an Event with it", func() bool { return w.told(c.reason) > 0 })
			if got := w.condition(meta.StalledCondition).Status == metav1.ConditionTrue; got != c.stall {
				t.Errorf("stalled is %v", got)
			}
			if c.files == nil && w.gitOut("rev-parse", "main") != first {
				t.Error("a commit was made")
			}
			if c.files != nil {
				w.until("the sound file is updated all the same", func() bool { return w.runs("1.1.0") })
			}
		})
	}
}

// TestHostileNamesInjectNothing: whatever a registry calls a tag is no YAML, and whatever files are called is no line of a message, no ref
// and no word of a request.
func TestHostileNamesInjectNothing(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"1.1.0\"\nevil: true", "1.1.0 # x", "1.1.0\n", "-1", "$(id)", "{{ .x }}", "1.1.0@sha256:x", strings.Repeat("9", 200)} {
		t.Run(tag[:min(len(tag), 20)], func(t *testing.T) {
			t.Parallel()
			w := ready(t)
			first := w.gitOut("rev-parse", "main")
			w.choose("web", tag)
			w.until("a refusal", func() bool { return w.condition(meta.ReadyCondition).Reason == string(edit.InvalidValue) })
			w.until("an Event with it", func() bool { return w.told(string(edit.InvalidValue)) > 0 })
			if w.gitOut("rev-parse", "main") != first {
				t.Errorf("file is\n%s", w.file("web.yaml"))
			}
		})
	}
}

func TestHostileFilesInjectNothing(t *testing.T) {
	t.Parallel()
	const trailer = "Signed-off-by: Mallory <m@example.com>"
	evil := "a;$(id) +x:y @all [x](y)\n\n" + trailer + "/web.yaml"
	w, g := requesting(t, map[string]string{groupAnnotation: "path"})
	w.commit("evil", map[string]string{evil: strings.ReplaceAll(deployment, "  name: web\nspec", "  name: \"x\\n\\n"+trailer+"\"\nspec")})
	a := w.get()
	before := a.DeepCopy()
	a.Spec.GitSpec.Commit.MessageTemplate = "{{ .Changed.FileChanges }}\n{{ range .Changed.Changes }}{{ .OldValue }}{{ end }}"
	if err := w.client.Patch(t.Context(), a, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.choose("web", "1.1.0")
	w.until("a request for each directory", func() bool { pulls, _ := g.get(); return len(pulls) == 2 })
	pulls, _ := g.get()
	for _, p := range pulls {
		if !regexp.MustCompile(`^sluice/[a-z0-9-]+-auto-[A-Za-z0-9-]+$`).MatchString(p.head) {
			t.Errorf("branch is %q", p.head)
		}
		if strings.Contains(p.title+p.body, "@all") || strings.Contains(p.body, "](y)") || strings.Contains(p.body, "\n"+trailer) || strings.Contains(p.title, "\n") {
			t.Errorf("request says %q, %q", p.title, p.body)
		}
		if got := w.gitOut("log", "-1", "--format=%(trailers)", p.head); got != "" {
			t.Errorf("the commit has the trailer %q", got)
		}
	}
	if got := w.gitOut("for-each-ref", "--format=%(refname)"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "refs/heads/main") {
		t.Errorf("refs are\n%s", got)
	}
}

func hook(script string) func(*world) {
	return func(w *world) {
		if err := w.repo.InstallHook("pre-receive", "#!/bin/sh\n"+script+"\n"); err != nil {
			w.Fatal(err)
		}
	}
}

func TestPushBranch(t *testing.T) {
	t.Parallel()
	w := ready(t, func(a *automationv1.ImageUpdateAutomation) {
		a.Spec.GitSpec.Push = &automationv1.PushSpec{Branch: "auto"}
	})
	first := w.gitOut("rev-parse", "main")
	w.choose("web", "1.1.0")
	w.until("a branch", func() bool {
		out, _ := w.repo.Git(t.Context(), nil, "show", "auto:web.yaml")
		return strings.Contains(out, "1.1.0")
	})
	if w.gitOut("rev-parse", "auto^") != first || w.gitOut("rev-parse", "main") != first {
		t.Error("the branch does not stand on main, or main moved")
	}
	// Main goes on: the branch follows.
	auto := w.gitOut("rev-parse", "auto")
	moved := w.commit("goes on", map[string]string{"README": "x"})
	w.choose("web", "1.2.0")
	w.until("a merge", func() bool {
		out, _ := w.repo.Git(t.Context(), nil, "show", "auto:web.yaml")
		return strings.Contains(out, "1.2.0")
	})
	if got, want := w.gitOut("log", "--merges", "--format=%P", "auto"), auto+" "+moved; got != want {
		t.Errorf("parents of merges are %q; want %s", got, want)
	}
	if diff := w.gitOut("diff", "--name-only", "main", "auto"); diff != "web.yaml" {
		t.Errorf("the branch differs from main in %q", diff)
	}
	w.until("status", func() bool { return w.get().Status.ObservedSourceRevision == "main@sha1:"+moved })
	// Somebody works on the branch, too: what they did stays, whatever becomes of main.
	if _, err := w.repo.Commit(t.Context(), gittest.Commit{Branch: "auto", Message: "mine", Files: map[string]string{"README": "y", "note": "x"}}); err != nil {
		t.Fatal(err)
	}
	moved = w.commit("goes on", map[string]string{"README": "z"})
	for _, tag := range []string{"1.3.0", "1.4.0"} {
		w.choose("web", tag)
		w.until(tag, func() bool {
			out, _ := w.repo.Git(t.Context(), nil, "show", "auto:web.yaml")
			return strings.Contains(out, tag)
		})
		if got := w.gitOut("show", "auto:README") + w.gitOut("show", "auto:note"); got != "yx" {
			t.Errorf("with %s, what somebody wrote became %q", tag, got)
		}
	}
	w.until("status", func() bool { return w.get().Status.ObservedSourceRevision == "main@sha1:"+moved })
}

// TestASuspendedPolicyKeepsItsChoice: as in Flux, new files follow it still.
func TestASuspendedPolicyKeepsItsChoice(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.choose("web", "1.1.0")
	w.until("1.1.0", func() bool { return w.runs("1.1.0") })
	w.changePolicy(func(p *imagev1.ImagePolicy) { p.Spec.Suspend = true })
	w.commit("another", map[string]string{"other.yaml": "image: ghcr.io/org/web:1.0.0 # {\"$imagepolicy\": \"NS:web\"}\n"})
	w.request()
	w.until("the new file follows", func() bool { return strings.Contains(w.file("other.yaml"), "1.1.0") })
}

// TestTheSameChoiceByAnotherSpecWakes: what an automation left alone while a policy had not chosen by its new specification is written as soon
// as it has.
func TestTheSameChoiceByAnotherSpecWakes(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.choose("web", "1.1.0")
	w.until("1.1.0", func() bool { return w.runs("1.1.0") })
	w.changePolicy(func(p *imagev1.ImagePolicy) { p.Spec.Policy.SemVer.Range = "1.x" })
	w.commit("another", map[string]string{"other.yaml": "image: ghcr.io/org/web:1.0.0 # {\"$imagepolicy\": \"NS:web\"}\n"})
	w.request()
	if strings.Contains(w.file("other.yaml"), "1.1.0") {
		t.Fatal("a choice by the old specification was taken")
	}
	w.policies.mu.Lock()
	w.policies.mute = true
	w.policies.mu.Unlock()
	w.choose("web", "1.1.0")
	w.until("the choice is saved", func() bool {
		chosen, err := stage.ListStates[state.Chosen](t.Context(), w.bus, state.StagePolicy, w.namespace)
		return err == nil && chosen[w.key("web")].Generation == 2
	})
	p := &imagev1.ImagePolicy{}
	if err := w.client.Get(t.Context(), w.key("web"), p); err != nil {
		t.Fatal(err)
	}
	p.Status.ObservedGeneration = p.Generation
	if err := w.client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.until("the new file follows", func() bool { return strings.Contains(w.file("other.yaml"), "1.1.0") })
}

func (w *world) changePolicy(change func(*imagev1.ImagePolicy)) {
	w.Helper()
	p := &imagev1.ImagePolicy{}
	if err := w.client.Get(w.Context(), w.key("web"), p); err != nil {
		w.Fatal(err)
	}
	before := p.DeepCopy()
	change(p)
	if err := w.client.Patch(w.Context(), p, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

func TestSelectorAndSuspend(t *testing.T) {
	t.Parallel()
	w := ready(t, func(a *automationv1.ImageUpdateAutomation) {
		a.Spec.PolicySelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	})
	w.choose("web", "1.1.0")
	w.request()
	if !w.runs("1.0.0") {
		t.Fatal("a policy that is not selected was followed")
	}
	p := &imagev1.ImagePolicy{}
	if err := w.client.Get(t.Context(), w.key("web"), p); err != nil {
		t.Fatal(err)
	}
	before := p.DeepCopy()
	p.Labels["team"] = "a"
	if err := w.client.Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.until("the label wakes", func() bool { return w.runs("1.1.0") })
}
