package app

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
)

const token = "s3cret-of-the-host"

// hosted is how a host makes a call.
type hosted struct {
	file   string // its body, in testdata of package payload
	header map[string]string
	// prove signs a body, or sends the key along; nil where the path is all the proof.
	prove func(key, body []byte) map[string]string
	// again is by what the host tells deliveries apart; empty where the body says it, or nothing.
	again string
	// never says that nothing tells two calls apart.
	never bool
}

func hub256(key, body []byte) map[string]string {
	return map[string]string{"X-Hub-Signature-256": hmac256(key, body)}
}

func hub(key, body []byte) map[string]string {
	return map[string]string{"X-Hub-Signature": hmac256(key, body)}
}

func gitea(key, body []byte) map[string]string {
	return map[string]string{"X-Gitea-Signature": hmac256(key, body)[len("sha256="):]}
}

func nexus(key, body []byte) map[string]string {
	mac := hmac.New(sha1.New, key)
	mac.Write(body)
	return map[string]string{"X-Nexus-Webhook-Signature": hex.EncodeToString(mac.Sum(nil))}
}

func along(name string) func(key, body []byte) map[string]string {
	return func(key, _ []byte) map[string]string { return map[string]string{name: string(key)} }
}

// hosts are the ways of all types but those whose tokens others sign, by name of the Receiver.
var hosts = map[string]hosted{
	"github":          {"github.json", map[string]string{"X-GitHub-Event": "push"}, hub256, "X-GitHub-Delivery", false},
	"gitea":           {"gitea.json", map[string]string{"X-Gitea-Event": "push"}, gitea, "X-Gitea-Delivery", false},
	"gitlab":          {"gitlab.json", map[string]string{"X-Gitlab-Event": "Push Hook"}, along("X-Gitlab-Token"), "Idempotency-Key", false},
	"bitbucket":       {"bitbucket.json", map[string]string{"X-Event-Key": "repo:refs_changed"}, hub, "X-Request-Id", false},
	"bitbucket-cloud": {"bitbucket-cloud.json", map[string]string{"X-Event-Key": "repo:push"}, hub, "X-Request-UUID", false},
	"harbor":          {"harbor.json", nil, along("Authorization"), "", false},
	"harbor-cloud":    {"harbor-cloud.json", nil, along("Authorization"), "", false},
	"nexus":           {"nexus.json", nil, nexus, "X-Nexus-Webhook-Delivery", false},
	"dockerhub":       {"dockerhub.json", nil, nil, "", false},
	"quay":            {"quay.json", nil, nil, "", true},
	"acr":             {"acr.json", nil, nil, "", false},
	"cdevents":        {"cdevents.json", map[string]string{"Ce-Type": "dev.cdevents.change.merged"}, nil, "", false},
	"generic":         {"quay.json", nil, nil, "Idempotency-Key", false},
	"generic-hmac": {"quay.json", nil, func(key, body []byte) map[string]string {
		return map[string]string{"X-Signature": hmac256(key, body)}
	}, "Idempotency-Key", false},
}

// typeOf is the type of the Receiver of a host.
func typeOf(host string) string {
	switch host {
	case "gitea":
		return "github"
	case "bitbucket-cloud":
		return "bitbucket"
	case "harbor-cloud":
		return "harbor"
	}
	return host
}

func sample(t *testing.T, file string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "internal", "payload", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// headers are those of one call.
func (h hosted) headers(key string, body []byte, delivery string) map[string]string {
	all := map[string]string{"Content-Type": "application/json"}
	maps.Copy(all, h.header)
	if h.prove != nil {
		maps.Copy(all, h.prove([]byte(key), body))
	}
	if h.again != "" && delivery != "" {
		all[h.again] = delivery
	}
	return all
}

// Every type takes the call that its host makes, and of none a forged, malformed or oversized one; the same call again is no news.
func TestTypes(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.MaxBody = 64 << 10 })
	w.secret("key", map[string]string{"token": token})
	for name := range hosts {
		w.receiver(name, typeOf(name), nil)
	}
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			path, body := w.ready(name), sample(t, h.file)
			before := len(w.taken())
			w.sendUntil(http.StatusOK, "POST", path, h.headers(token, body, "1"), body)
			w.wantHints(before+1, "GitRepository app")

			again := before + 1
			if h.never {
				again++
			}
			if got := w.send("POST", path, h.headers(token, body, "1"), body); got != http.StatusOK {
				t.Errorf("replayed: %d", got)
			}
			w.wantHints(again, "GitRepository app")

			if h.prove != nil {
				for what, header := range map[string]map[string]string{
					"with another key": h.headers("other", body, "2"), "without any proof": h.header,
					"of another body": h.headers(token, []byte("other"), "2"),
				} {
					if what == "of another body" && (name == "gitlab" || typeOf(name) == "harbor") {
						continue // the key itself is the proof
					}
					if got := w.send("POST", path, header, body); got != http.StatusNotFound {
						t.Errorf("%s: %d", what, got)
					}
				}
			}
			bad := []byte(`{"repository": `)
			if got := w.send("POST", path, h.headers(token, bad, "3"), bad); got != http.StatusBadRequest {
				t.Errorf("malformed: %d", got)
			}
			large := bytes.Repeat([]byte("a"), 65<<10)
			if got := w.send("POST", path, h.headers(token, large, "4"), large); got != http.StatusRequestEntityTooLarge {
				t.Errorf("oversized: %d", got)
			}
			w.wantHints(again, "GitRepository app")
		})
	}
}

// Who overhears a call of a host that says when something happened cannot pass it off as another delivery.
func TestReplayUnderAnotherDelivery(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	for _, name := range []string{"github", "bitbucket", "nexus"} {
		h := hosts[name]
		w.receiver(name, typeOf(name), nil)
		path, body := w.ready(name), sample(t, h.file)
		before := len(w.taken())
		w.sendUntil(http.StatusOK, "POST", path, h.headers(token, body, "1"), body)
		if got := w.send("POST", path, h.headers(token, body, "2"), body); got != http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
		w.wantHints(before+1, "GitRepository app")
	}
}

// A call for one Receiver is none for another, and one of the same host again later is news.
func TestDeliveries(t *testing.T) {
	w := newWorld(t)
	w.secret("key", map[string]string{"token": token})
	h, body := hosts["gitlab"], sample(t, "gitlab.json")
	w.receiver("one", "gitlab", nil)
	w.receiver("two", "gitlab", func(r *receiverv1.Receiver) { r.Spec.Resources = []receiverv1.ReceiverResource{git("other")} })
	one, two := w.ready("one"), w.ready("two")
	w.sendUntil(http.StatusOK, "POST", one, h.headers(token, body, "1"), body)
	w.sendUntil(http.StatusOK, "POST", two, h.headers(token, body, "1"), body)
	w.wantHints(2, "GitRepository other")
	if got := w.send("POST", one, h.headers(token, body, "2"), body); got != http.StatusOK {
		t.Error(got)
	}
	w.wantHints(3, "GitRepository app")
}
