package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// canary is in every secret value of TestBadInput, and must be seen nowhere.
const canary = "cAnArY7f3b9d"

// badInput is one fault of a user: how it comes about, what is said of it and where, and how it is mended.
type badInput struct {
	name   string
	make   func(s *scene) harness.Resource // the object that says so
	reason string
	says   string
	mend   func(s *scene)
}

// TestBadInput makes every kind of fault that users make. Each is told in the condition Ready and in an Event, with Flux's reason and the
// file or object at fault, and is over when it is mended. No secret is ever told.
func TestBadInput(t *testing.T) {
	e := world.Start(t, harness.Options{Git: gittest.Options{SSH: true}})
	locked := lockedServer(t, e)
	// A group of their own: what is looked for below must come after them all.
	t.Run("faults", func(t *testing.T) {
		for _, bad := range append(badSources(), badApplications()...) {
			t.Run(bad.name, func(t *testing.T) {
				t.Parallel()
				s := newScene(t, e, locked)
				obj := bad.make(s)
				wantFault(t, e, obj, bad)
				bad.mend(s)
				harness.AwaitReady(t, e, obj, recovery)
			})
		}
	})
	wantNoCanary(t, e, 10)
}

// lockedServer starts a git server that wants the right password.
func lockedServer(t *testing.T, e *harness.Env) *gittest.Server {
	t.Helper()
	dir := filepath.Join(e.Dir, "locked")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server, err := gittest.NewServer(dir, gittest.Options{Username: "jane", Password: "right-" + canary})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// wantFault holds that an object tells its fault as it should, in its status and in an Event.
func wantFault(t *testing.T, e *harness.Env, obj harness.Resource, bad badInput) {
	t.Helper()
	harness.Await(t, e, obj, settle, "fault", func(obj harness.Resource) error {
		ready := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
		if ready == nil {
			return fmt.Errorf("no condition Ready")
		}
		if ready.Status != metav1.ConditionFalse || ready.Reason != bad.reason || !strings.Contains(ready.Message, bad.says) {
			return fmt.Errorf("condition Ready is %s, %s: %s; want False, %s and %q", ready.Status, ready.Reason, ready.Message, bad.reason, bad.says)
		}
		return harness.Want("generation of the condition", ready.ObservedGeneration, obj.GetGeneration())
	})
	t.Logf("%s", apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition).Message)
	harness.Until(t, settle, "an Event of the fault", func() error {
		events, err := e.Events(t.Context(), obj)
		for _, event := range events {
			if event.Type == corev1.EventTypeWarning && event.Reason == bad.reason && strings.Contains(event.Message, bad.says) {
				return nil
			}
		}
		return fmt.Errorf("%d other Events, %w", len(events), err)
	})
}

// wantNoCanary looks for secret values in logs, custom resources, Events and on the bus, which names sources at least so many times.
func wantNoCanary(t *testing.T, e *harness.Env, sources int) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(e.Dir, "*.log"))
	if err != nil || len(logs) < 4 {
		t.Fatalf("logs: %v, %v", logs, err)
	}
	for _, file := range logs {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wantNone(t, file, string(data))
	}
	for _, list := range []client.ObjectList{&sourcev1.GitRepositoryList{}, &kustomizev1.KustomizationList{}, &corev1.EventList{}} {
		if err := e.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if err := apimeta.EachListItem(list, func(o runtime.Object) error { wantNoneIn(t, o); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	// Every object's name is on the bus many times: where that is not found, looking proves nothing.
	if names, messages := e.BusHolds(t, ".source"); len(names) < sources {
		t.Errorf("found the name of a source %d times in %d messages of the bus", len(names), messages)
	}
	found, messages := e.BusHolds(t, canary)
	t.Logf("looked at %d messages of the bus", messages)
	for _, place := range found {
		t.Errorf("a secret is on the bus: %s", place)
	}
}

func wantNoneIn(t *testing.T, obj runtime.Object) {
	t.Helper()
	if repo, ok := obj.(*sourcev1.GitRepository); ok {
		repo.Spec = sourcev1.GitRepositorySpec{} // one has a secret in its URL, by its user's fault
		repo.Annotations, repo.ManagedFields = nil, nil
	}
	text, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	wantNone(t, fmt.Sprintf("%T", obj), string(text))
}

func wantNone(t *testing.T, where, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.Contains(line, canary) {
			t.Errorf("a secret is in %s: %s", where, line)
		}
	}
}
