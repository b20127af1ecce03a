package provider

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

// pubSubCheck is projects.topics.publish of Pub/Sub's reference.
func pubSubCheck(attributes map[string]string) accept {
	return func(c call) (string, error) {
		var in struct {
			Messages []struct {
				Data       []byte
				Attributes map[string]string
			}
		}
		if err := c.into(&in); err != nil || len(in.Messages) != 1 {
			return "", fmt.Errorf("%d messages, %w", len(in.Messages), err)
		}
		var e eventv1.Event
		err := expect(json.Unmarshal(in.Messages[0].Data, &e), want("kind", e.InvolvedObject.Kind, "Kustomization"),
			want("method", c.Method, "POST"), want("path", c.URL.Path, "/v1/projects/my-project/topics/events:publish"), isBearer(c.Header.Get("Authorization")),
			want("host", c.Header.Get("X-Meant"), "https://pubsub.googleapis.com"), want("attributes", fmt.Sprint(in.Messages[0].Attributes), fmt.Sprint(attributes)))
		return `{"messageIds":["1234"]}`, err
	}
}

func movePubSub(s Sender, to *url.URL) { s.(*pubSub).client.move(to) }

func TestPubSub(t *testing.T) {
	s := settings(notifyv1.GooglePubSubProvider, "events", "headers", "env: prod\nteam: web")
	s.Spec.Address, s.Cloud = "my-project", &identityOf{provider: "gcp", scope: "https://www.googleapis.com/auth/cloud-platform"}
	k := kit{settings: s, machine: true, adjust: movePubSub, check: pubSubCheck(map[string]string{"env": "prod", "team": "web"})}
	k.run(t)
	sender, _ := k.sender(t, serve(t, k.check).URL)
	if receipt, err := sender.Send(t.Context(), sampleMessage()); err != nil || receipt.ID != "1234" {
		t.Errorf("%v %v", receipt, err)
	}
}

// googleCredentials are the key of a service account whose tokens come from the address.
func googleCredentials(t *testing.T, address string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return jsonOf(map[string]string{
		"type": "service_account", "project_id": "my-project", "private_key_id": "1", "client_email": "sluice@my-project.iam.gserviceaccount.com", "token_uri": address,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

func TestPubSubKey(t *testing.T) {
	var tokens atomic.Int32
	answers := http.StatusOK
	issuer := httptestOf(t, func(w http.ResponseWriter, c call) {
		tokens.Add(1)
		form, err := url.ParseQuery(string(c.body))
		if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(form.Get("assertion"), ".") != 2 {
			t.Errorf("%v %s", err, c.body)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(answers)
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, secretToken)
	})
	s := at(settings(notifyv1.GooglePubSubProvider, "events", "token", googleCredentials(t, issuer+"/token")), "my-project")
	service := serve(t, pubSubCheck(nil))
	make := func() Sender {
		sender, _ := kit{settings: s, adjust: func(Sender, *url.URL) {}}.sender(t, service.URL)
		to, err := url.Parse(service.URL)
		if err != nil {
			t.Fatal(err)
		}
		sender.(*pubSub).client.http.Transport = movedBut{sender.(*pubSub).client.http.Transport, to}
		return sender
	}
	sender := make()
	for range 2 {
		if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if tokens.Load() != 1 {
		t.Errorf("%d tokens", tokens.Load())
	}
	answers = http.StatusBadRequest
	if _, err := make().Send(t.Context(), sampleMessage()); !isRefusal(err) || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("a key that is not accepted: %v", err)
	}
	answers = http.StatusServiceUnavailable
	if _, err := make().Send(t.Context(), sampleMessage()); err == nil || isRefusal(err) {
		t.Errorf("an issuer that is away: %v", err)
	}
}

// movedBut leaves requests for tokens where they go.
type movedBut struct {
	http.RoundTripper
	to *url.URL
}

func (m movedBut) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/token" {
		return m.RoundTripper.RoundTrip(r)
	}
	return moved(m).RoundTrip(r)
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
	return ok
}

func TestPubSubSettings(t *testing.T) {
	both := at(settings(notifyv1.GooglePubSubProvider, "events", "token", googleCredentials(t, "https://oauth2.googleapis.com/token")), "my-project")
	both.Spec.ServiceAccountName = "sender"
	for name, s := range map[string]Settings{
		"no project": settings(notifyv1.GooglePubSubProvider, "events", "token", "{}"), "no topic": at(settings(notifyv1.GooglePubSubProvider, "", "token", "{}"), "p"),
		"no identity": at(settings(notifyv1.GooglePubSubProvider, "events"), "p"), "no JSON": at(settings(notifyv1.GooglePubSubProvider, "events", "token", "hunter2"), "p"),
		"files and programs of the machine": at(settings(notifyv1.GooglePubSubProvider, "events", "token", `{"type":"external_account","credential_source":{"file":"/var/run/hunter2"}}`), "p"),
		"incomplete":                        at(settings(notifyv1.GooglePubSubProvider, "events", "token", `{"type":"service_account","private_key":"hunter2"}`), "p"),
		"two":                               both,
	} {
		if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where tokens come from is an address that a user chose, too.
func TestPubSubKeyElsewhere(t *testing.T) {
	s := at(settings(notifyv1.GooglePubSubProvider, "events", "token", googleCredentials(t, "http://169.254.169.254/token")), "my-project")
	s.AllowPrivate = true
	sender, _, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), sampleMessage()); !isRefusal(err) {
		t.Error(err)
	}
}
