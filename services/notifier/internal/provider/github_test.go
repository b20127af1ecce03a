package provider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

func readCall(r *http.Request) call {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	return call{r, body}
}

// appServer is GitHub where an App is installed.
type appServer struct {
	*httptest.Server
	tokens atomic.Int32
}

func (a *appServer) issued() int { return int(a.tokens.Load()) }

// appHost answers requests for tokens of App 99's installation 42 itself, and hands all others to check.
func appHost(t *testing.T, check accept) *appServer {
	t.Helper()
	a := &appServer{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := readCall(r)
		if c.Method == "POST" && c.URL.Path == "/api/v3/app/installations/42/access_tokens" {
			a.tokens.Add(1)
			if err := checkClaim(c.Header.Get("Authorization")); err != nil {
				w.WriteHeader(401)
				return
			}
			w.WriteHeader(201)
			fmt.Fprintf(w, `{"token":%q,"expires_at":%q}`, secretToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			return
		}
		answer, err := check(c)
		if err != nil {
			w.WriteHeader(400)
			answer = err.Error()
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(a.Close)
	return a
}

func checkClaim(header string) error {
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	if len(parts) != 3 {
		return errors.New("no JWT")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var in struct{ Iss string }
	return expect(json.Unmarshal(claims, &in), want("issuer", in.Iss, "99"))
}

// appSecret is a Secret as Flux has it for an App.
func appSecret(t *testing.T, host string) map[string][]byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"githubAppID": []byte("99"), "githubAppInstallationID": []byte("42"), "githubAppBaseURL": []byte(host + "/api/v3"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
}

func TestGitHubApp(t *testing.T) {
	s := githubService()
	host := appHost(t, func(c call) (string, error) {
		answer, _, err := s.check(c)
		return answer, err
	})
	settings := settings(s.kind, "")
	settings.Secret, settings.AllowPrivate = appSecret(t, host.URL), true
	settings.Spec.Address = host.URL + s.path
	sender, _, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := sender.Send(t.Context(), sampleMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if s.writes != 1 || host.issued() != 1 {
		t.Errorf("%d statuses, %d tokens", s.writes, host.issued())
	}
}

// The App's own API is an address that a user chose, too.
func TestGitHubAppElsewhere(t *testing.T) {
	s := settings(notifyv1.GitHubProvider, "")
	s.Secret = appSecret(t, "http://169.254.169.254")
	s.Spec.Address, s.AllowPrivate = "https://github.com/org/repo", true
	sender, _, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sender.Send(t.Context(), sampleMessage())
	if _, ok := errors.AsType[*Refusal](err); !ok {
		t.Error(err)
	}
	s.Secret["githubAppPrivateKey"] = []byte("hunter2")
	if _, _, err := New(s); !errors.Is(err, ErrSettings) || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

// dispatchCheck is GitHub's: a type of at most 100 characters, at most ten properties, at most 64 KB.
func dispatchCheck(c call) (string, error) {
	var in struct {
		EventType     string         `json:"event_type"`
		ClientPayload map[string]any `json:"client_payload"`
	}
	err := expect(
		want("method", c.Method, "POST"), want("path", c.URL.Path, "/api/v3/repos/org/repo/dispatches"), want("authorization", c.Header.Get("Authorization"), "Bearer "+secretToken),
		c.into(&in), atMost("type", len([]rune(in.EventType)), 100), atLeast("type", len(in.EventType), 1), atMost("properties", len(in.ClientPayload), 10), atMost("body", len(c.body), 65535))
	return "", err
}

func TestGitHubDispatch(t *testing.T) {
	k := kit{settings: settings(notifyv1.GitHubDispatchProvider, "", "token", secretToken), path: "/org/repo", inSpec: true, machine: true, check: dispatchCheck}
	t.Run("messages", k.messages)
	t.Run("busy", k.busy)
	t.Run("failures", k.failures)
	t.Run("unreachable", k.unreachable)
	t.Run("elsewhere", k.elsewhere)
	t.Run("private", k.private)

	service := serve(t, dispatchCheck)
	sender, _ := k.sender(t, service.URL)
	m := hostileMessage(1 << 20)
	m.Event.Metadata, m.Event.ReportingController, m.Event.InvolvedObject.Name = nil, "kustomize-controller", "web"
	if _, err := sender.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var in struct {
		EventType     string        `json:"event_type"`
		ClientPayload eventv1.Event `json:"client_payload"`
	}
	if err := service.last(t).into(&in); err != nil || in.EventType != "Kustomization/web.apps" || in.ClientPayload.InvolvedObject.Kind != "Kustomization" || !strings.HasPrefix(in.ClientPayload.Message, "@everyone") {
		t.Errorf("%v %+v", err, in)
	}
	if n := len(service.last(t).body); n < 60_000 {
		t.Errorf("cut to %d bytes", n)
	}
	m.Event.InvolvedObject.Name = strings.Repeat("n", 100)
	before := len(service.taken())
	_, err := sender.Send(t.Context(), m)
	if _, ok := errors.AsType[*Refusal](err); !ok || len(service.taken()) != before {
		t.Errorf("a type of 119 characters: %v", err)
	}
	m = hostileMessage(1 << 20)
	m.Event.InvolvedObject.Name = "web"
	_, err = sender.Send(t.Context(), m) // whose metadata alone are too long
	if _, ok := errors.AsType[*Refusal](err); !ok || len(service.taken()) != before {
		t.Errorf("metadata of a megabyte: %v", err)
	}
}

// identityOf gives the same token always.
type identityOf struct {
	provider, scope string
	err             error
	asked           atomic.Int32
}

func (c *identityOf) Token(_ context.Context, provider, scope string) (string, time.Time, error) {
	c.asked.Add(1)
	if provider != c.provider || scope != c.scope {
		return "", time.Time{}, fmt.Errorf("%s %s is asked for", provider, scope)
	}
	return secretToken, time.Now().Add(time.Hour), c.err
}
