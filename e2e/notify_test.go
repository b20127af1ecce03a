package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// listener is a system outside that is told events, and takes its time for each.
type listener struct {
	*httptest.Server
	takes time.Duration

	mu    sync.Mutex
	keys  map[string]int // messages by idempotency key
	about map[string]int // messages by object and revision
}

func startListener(t *testing.T, takes time.Duration) *listener {
	h := &listener{takes: takes, keys: map[string]int{}, about: map[string]int{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event struct {
			InvolvedObject struct{ Kind, Name string }
			Reason         string
			Metadata       map[string]string
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		h.keys[r.Header.Get("Idempotency-Key")]++
		h.about[fmt.Sprintf("%s/%s %s %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Reason, event.Metadata["revision"])]++
		h.mu.Unlock()
		time.Sleep(h.takes) // who is killed now does not know whether it was taken
	}))
	t.Cleanup(h.Close)
	return h
}

// repeated is how many messages came more than once, and the most that one did.
func (h *listener) repeated() (messages, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.keys {
		if n > 1 {
			messages++
		}
		most = max(most, n)
	}
	return messages, most
}

func (h *listener) has(about string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.about[about] == 0 {
		return fmt.Errorf("nothing was told of %s", about)
	}
	return nil
}

// follow makes a Provider and an Alert for everything in the test's namespace.
func (h *listener) follow(t *testing.T, e *harness.Env) {
	t.Helper()
	e.Create(t, &notifyv1.Provider{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "hook"}, Spec: notifyv1.ProviderSpec{Type: "generic", Address: h.URL},
	}, &notifyv1.Alert{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "hook"},
		Spec: notifyv1.AlertSpec{ProviderRef: meta.LocalObjectReference{Name: "hook"}, EventSources: []notifiersv1.CrossNamespaceObjectReference{
			{Kind: "GitRepository", Name: "*"}, {Kind: "Kustomization", Name: "*"},
		}},
	})
}

// TestKillWhileTelling kills the service that tells people again and again while it does, and now and then the bus: every change is told, those that were under way at a kill at most
// twice, and nothing twice when processes only stop and start.
func TestKillWhileTelling(t *testing.T) {
	rng := random(t)
	e := world.Start(t, harness.Options{Notifier: true})
	e.AddReplica("notifier")
	h := startListener(t, 30*time.Millisecond)
	h.follow(t, e)
	harness.Pause(t.Context(), time.Second) // an alert is told of what happens after it was made
	f := newFleet(t, e, 2, 5)
	push := func(what string) {
		t.Helper()
		for _, repo := range f.repos {
			if _, err := repo.PushAndRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.awaitLast(t, recovery)
		for _, repo := range f.repos {
			harness.AwaitReady(t, e, repo.Object, settle)
			revision := repo.Object.Status.Artifact.Revision
			harness.Until(t, recovery, what, func() error { return h.has("GitRepository/" + repo.Object.Name + " NewArtifact " + revision) })
			for _, app := range repo.Apps {
				harness.Until(t, recovery, what, func() error { return h.has("Kustomization/" + app.Name + " ReconciliationSucceeded " + revision) })
			}
		}
	}
	push("at first")
	rounds, kills := 8, 0
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		var killing sync.WaitGroup
		stop := make(chan struct{})
		killing.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(100+rng.IntN(600)) * time.Millisecond):
				}
				running := e.Replicas("notifier")
				e.KillReplica(running[rng.IntN(len(running))])
				kills++
				e.AddReplica("notifier")
			}
		})
		if round%3 == 2 {
			if err := e.Bus().Kill(); err != nil {
				t.Error(err)
			}
			if err := e.StartBus(); err != nil {
				t.Error(err)
			}
		}
		for _, repo := range f.repos {
			if _, err := repo.PushAndRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		harness.Pause(t.Context(), 3*time.Second)
		close(stop)
		killing.Wait()
		push("after kills")
	}
	repeated, most := h.repeated()
	t.Logf("%d messages, %d kills: %d came again", len(h.keys), kills, repeated)
	if most > 2 || repeated > kills {
		t.Errorf("of %d messages %d came more than once, at most %d times, after %d kills", len(h.keys), repeated, most, kills)
	}
	for range 4 {
		for _, repo := range f.repos {
			if _, err := repo.PushAndRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range e.Replicas("notifier") {
			harness.Pause(t.Context(), time.Duration(rng.IntN(300))*time.Millisecond)
			if err := r.Process.Stop(10 * time.Second); err != nil {
				t.Error(err)
			}
			e.AddReplica("notifier")
		}
		push("after a restart")
	}
	if again, _ := h.repeated(); again != repeated {
		t.Errorf("%d messages came again after plain restarts", again-repeated)
	}
}
