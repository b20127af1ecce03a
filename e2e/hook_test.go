package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/bus"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

const hookKey = "the-key-of-the-host"

// receiverHook is a Receiver that a host calls.
type receiverHook struct {
	uid, path string
}

// newHook creates a Receiver of type github for one repository.
func newHook(t *testing.T, e *harness.Env, repo string) receiverHook {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "hook"}, StringData: map[string]string{"token": hookKey}}
	if err := client.IgnoreAlreadyExists(e.Client.Create(t.Context(), secret)); err != nil {
		t.Fatal(err)
	}
	r := &receiverv1.Receiver{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: repo}, Spec: receiverv1.ReceiverSpec{
		Type: receiverv1.GitHubReceiver, Events: []string{"push"}, SecretRef: &meta.LocalObjectReference{Name: "hook"},
		Resources: []receiverv1.ReceiverResource{{CrossNamespaceObjectReference: receiverv1.CrossNamespaceObjectReference{Kind: "GitRepository", Name: repo}}},
	}}
	e.Create(t, r)
	return receiverHook{string(r.UID), r.GetWebhookPath(hookKey)}
}

// event is one delivery of a host, signed.
type event struct {
	id, sign string
	body     []byte
}

func newEvent() event {
	id := rand.Text()
	body := fmt.Appendf(nil, `{"ref":"refs/heads/main","repository":{"clone_url":"https://git.example.org/org/app.git","pushed_at":%d}}`, time.Now().UnixNano())
	mac := hmac.New(sha256.New, []byte(hookKey))
	mac.Write(body)
	return event{id, "sha256=" + hex.EncodeToString(mac.Sum(nil)), body}
}

// hintID is the id under which the event stands in its hint.
func (e event) hintID(h receiverHook) string {
	sum := sha256.Sum256([]byte(h.uid + "\x00github\x00delivery\x00" + e.id + "\x00"))
	return string(sum[:16])
}

var hostClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// post delivers an event once; 0 where nobody answers.
func (h receiverHook) post(ctx context.Context, url string, e event) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+h.path, bytes.NewReader(e.body))
	if err != nil {
		return 0
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", e.id)
	r.Header.Set("X-Hub-Signature-256", e.sign)
	answer, err := hostClient.Do(r)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// insist delivers an event as a host does that comes again, to one replica after the other.
func (h receiverHook) insist(ctx context.Context, e *harness.Env, ev event) error {
	for attempt := 0; ; attempt++ {
		replicas := e.Replicas("webhook-receiver")
		if len(replicas) > 0 && h.post(ctx, replicas[attempt%len(replicas)].HooksURL(), ev) == http.StatusOK {
			return nil
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("deliver: %w", ctx.Err())
		case <-timer.C:
		}
	}
}

// TestHookToObject measures the time from the call of a host to the changed object.
func TestHookToObject(t *testing.T) {
	e := world.Start(t, harness.Options{Hooks: true})
	writes := e.Record(t, e.Namespace)
	var repos []*harness.Repo
	var hooks []receiverHook
	for i := range 5 {
		repos = append(repos, e.NewRepo(t, fmt.Sprintf("hooked-%d", i), 1))
		hooks = append(hooks, newHook(t, e, repos[i].Name))
	}
	for _, repo := range repos {
		writes.AwaitAll(t, repo.Want(), settle)
		harness.AwaitReady(t, e, repo.Apps[0], settle)
	}
	var took []time.Duration
	for range 4 {
		for i, repo := range repos {
			number := repo.Push(t)
			called := time.Now()
			if err := hooks[i].insist(t.Context(), e, newEvent()); err != nil {
				t.Fatal(err)
			}
			took = append(took, writes.AwaitWrite(t, repo.Apps[0].Name, number, settle).Seen.Sub(called))
			harness.AwaitReady(t, e, repo.Apps[0], settle)
		}
	}
	slices.Sort(took)
	t.Logf("%d calls: p50 %s, max %s, fastest %s", len(took), took[len(took)/2], took[len(took)-1], took[0])
	if p50 := took[len(took)/2]; p50 > 5*time.Second {
		t.Errorf("p50 is %s: far more than a second", p50)
	}
}

// TestHooksSurvive kills the bus and replicas of webhook-receiver with signal 9 while hosts call: every call that was answered 200 is in the
// stream, and the last push is what the cluster ends with.
func TestHooksSurvive(t *testing.T) {
	e := world.Start(t, harness.Options{Hooks: true})
	e.AddReplica("webhook-receiver")
	e.AwaitReplicas()
	writes := e.Record(t, e.Namespace)
	repo := e.NewRepo(t, "hooked", 1)
	h := newHook(t, e, repo.Name)
	writes.AwaitAll(t, repo.Want(), settle)
	began := time.Now().Add(-time.Minute)

	ctx, stop := context.WithCancel(t.Context())
	var hosts sync.WaitGroup
	var mu sync.Mutex
	var taken []event
	for range 8 {
		hosts.Go(func() {
			for ctx.Err() == nil {
				ev := newEvent()
				if h.insist(ctx, e, ev) == nil {
					mu.Lock()
					taken = append(taken, ev)
					mu.Unlock()
				}
			}
		})
	}
	for round := range 3 {
		harness.Pause(t.Context(), 2*time.Second)
		if err := e.Bus().Kill(); err != nil {
			t.Fatal(err)
		}
		victim := e.Replicas("webhook-receiver")[0]
		if round > 0 {
			e.KillReplica(victim)
		}
		harness.Pause(t.Context(), 500*time.Millisecond)
		if err := e.StartBus(); err != nil {
			t.Fatal(err)
		}
		if round > 0 {
			e.AddReplica("webhook-receiver")
		}
		repo.Push(t)
	}
	e.AwaitReplicas()
	number := repo.Push(t)
	if err := h.insist(t.Context(), e, newEvent()); err != nil {
		t.Fatal(err)
	}
	stop()
	hosts.Wait()
	writes.AwaitWrite(t, repo.Apps[0].Name, number, recovery)

	stored := storedHints(t, e, began)
	missing := 0
	for _, ev := range taken {
		if stored[ev.hintID(h)] == 0 {
			missing++
		}
	}
	t.Logf("%d calls were taken; %d ids are in the stream", len(taken), len(stored))
	if missing > 0 || len(taken) < 100 {
		t.Errorf("of %d calls that were answered 200, %d are lost", len(taken), missing)
	}
}

// storedHints counts the ids of all hints in the stream.
func storedHints(t *testing.T, e *harness.Env, since time.Time) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: e.NATSURL(), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ids := map[string]int{}
	_ = conn.FollowHints(ctx, since, cancel, func(_ time.Time, batch *hintsv1.Batch) {
		for _, hint := range batch.GetHints() {
			for _, id := range hint.GetIds() {
				ids[string(id)]++
			}
		}
	})
	if t.Context().Err() != nil || len(ids) == 0 {
		t.Fatal("the hints cannot be read")
	}
	return ids
}
