package app

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/go-jose/go-jose/v4"
)

// issuer signs tokens, and tells its keys as an issuer does.
type issuer struct {
	*httptest.Server
	key  *rsa.PrivateKey
	away bool
	told atomic.Int64 // how often it told its keys
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.told.Add(1)
		if i.away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// token signs claims, with what every token has but for what they say otherwise.
func (i *issuer) token(t *testing.T, key *rsa.PrivateKey, claims map[string]any) map[string]string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "aud": "notification-controller", "sub": "x", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Authorization": "Bearer " + text, "Content-Type": "application/json"}
}

// A token of an issuer lets in when it is good, for us, and says of the caller what the Receiver asks for.
func TestOIDC(t *testing.T) {
	i, other := startIssuer(t), startIssuer(t)
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.Issuers = http.DefaultClient })
	w.receiver("app", "generic-oidc", func(r *receiverv1.Receiver) {
		r.Spec.SecretRef = nil
		r.Spec.ResourceFilter = "claims.repository == 'org/app'"
		r.Spec.OIDCProviders = []receiverv1.OIDCProvider{{
			IssuerURL: i.URL, Variables: []receiverv1.OIDCVariable{{Name: "owner", Expression: "claims.repository_owner"}, {Name: "owners", Expression: "[vars.owner]"}},
			Validations: []receiverv1.OIDCValidation{{Expression: "vars.owner == 'org' && 'org' in vars.owners", Message: "another owner"}},
		}}
	})
	w.repository("app")
	path := w.ready("app")
	good := map[string]any{"repository_owner": "org", "repository": "org/app"}
	w.sendUntil(http.StatusOK, "POST", path, i.token(t, i.key, good), []byte(`{}`))
	w.wantHints(1, "GitRepository app")
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(good)
		claims[name] = value
		return claims
	}
	for what, header := range map[string]map[string]string{
		"another owner": i.token(t, i.key, with("repository_owner", "mallory")), "no owner": i.token(t, i.key, map[string]any{"repository": "org/app"}),
		"for another":    i.token(t, i.key, with("aud", "somebody")),
		"expired":        i.token(t, i.key, with("exp", time.Now().Add(-time.Hour).Unix())),
		"another key":    i.token(t, other.key, good),
		"another issuer": other.token(t, other.key, good), "issuer by name alone": other.token(t, other.key, with("iss", i.URL)),
		"no token": nil, "nonsense": {"Authorization": "Bearer a.b.c"},
	} {
		if got := w.send("POST", path, header, []byte(`{}`)); got != http.StatusNotFound {
			t.Errorf("%s: %d", what, got)
		}
	}
	if got := w.send("POST", path, i.token(t, i.key, with("repository", "org/other")), []byte(`{}`)); got != http.StatusOK {
		t.Errorf("left out by the filter: %d", got)
	}
	w.wantHints(1, "GitRepository app")
	if got := w.send("POST", path, i.token(t, i.key, good), []byte(`{`)); got != http.StatusBadRequest {
		t.Errorf("malformed: %d", got)
	}
	if got := w.send("POST", path, i.token(t, i.key, good), make([]byte, 5<<20)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("oversized: %d", got)
	}
	for range 2 {
		header := i.token(t, i.key, good)
		header["Idempotency-Key"] = "1"
		if got := w.send("POST", path, header, []byte(`{}`)); got != http.StatusOK {
			t.Errorf("with a key: %d", got)
		}
	}
	w.wantHints(2, "GitRepository app")
}

// Who cannot be asked about a token makes nobody good or bad: the host is told to come again.
func TestIssuerAway(t *testing.T) {
	i := startIssuer(t)
	i.away = true
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.Issuers = http.DefaultClient })
	w.receiver("app", "generic-oidc", func(r *receiverv1.Receiver) {
		r.Spec.SecretRef = nil
		r.Spec.OIDCProviders = []receiverv1.OIDCProvider{{IssuerURL: i.URL, Validations: []receiverv1.OIDCValidation{{Expression: "true", Message: "none"}}}}
	})
	w.sendUntil(http.StatusServiceUnavailable, "POST", w.ready("app"), i.token(t, i.key, nil), nil)
}

// The default client keeps away from this machine, whatever a Receiver names as its issuer.
func TestIssuerHere(t *testing.T) {
	i := startIssuer(t)
	w := newWorld(t)
	w.receiver("app", "generic-oidc", func(r *receiverv1.Receiver) {
		r.Spec.SecretRef = nil
		r.Spec.OIDCProviders = []receiverv1.OIDCProvider{{IssuerURL: i.URL, Validations: []receiverv1.OIDCValidation{{Expression: "true", Message: "none"}}}}
	})
	w.sendUntil(http.StatusServiceUnavailable, "POST", w.ready("app"), i.token(t, i.key, nil), nil)
}

// A call of Google Pub/Sub is good by Google's signature, for the audience, of the account that the Secret names.
func TestGCR(t *testing.T) {
	google := startIssuer(t)
	w := newWorld(t, func(c *Config, _ *serviceDeps) { c.Issuers, c.GoogleKeysURL = http.DefaultClient, google.URL+"/keys" })
	w.secret("half", map[string]string{"token": token})
	w.receiver("half", "gcr", func(r *receiverv1.Receiver) { r.Spec.SecretRef.Name = "half" })
	w.until("half", "waiting for email and audience", func(r *receiverv1.Receiver) bool {
		return condition(r, "Ready") == "False/"+receiverv1.TokenNotFoundReason
	})
	w.secret("key", map[string]string{"token": token, "email": "push@project.iam.gserviceaccount.com", "audience": "https://hooks.example.org"})
	w.receiver("app", "gcr", func(r *receiverv1.Receiver) {
		r.Spec.ResourceFilter = "req.tag == 'us.gcr.io/am/am.kebab.api:test' && req.action == 'INSERT'"
	})
	w.repository("app")
	path, body := w.ready("app"), sample(t, "gcr.json")
	good := map[string]any{"iss": "https://accounts.google.com", "aud": "https://hooks.example.org", "email": "push@project.iam.gserviceaccount.com", "email_verified": true}
	w.sendUntil(http.StatusOK, "POST", path, google.token(t, google.key, good), body)
	w.wantHints(1, "GitRepository app")
	if got := w.send("POST", path, google.token(t, google.key, good), body); got != http.StatusOK {
		t.Errorf("replayed: %d", got)
	}
	for name, value := range map[string]any{
		"iss": "https://evil.example.org", "aud": "https://other.example.org", "email": "mallory@project.iam.gserviceaccount.com", "email_verified": false, "exp": 1,
	} {
		claims := maps.Clone(good)
		claims[name] = value
		if got := w.send("POST", path, google.token(t, google.key, claims), body); got != http.StatusNotFound {
			t.Errorf("%s: %d", name, got)
		}
	}
	stranger, before := startIssuer(t), google.told.Load()
	for range 20 {
		if got := w.send("POST", path, stranger.token(t, stranger.key, good), body); got != http.StatusNotFound {
			t.Errorf("signed by a stranger: %d", got)
		}
	}
	if asked := google.told.Load() - before; asked > 3 {
		t.Errorf("20 tokens of a stranger made us ask for Google's keys %d times", asked)
	}
	for what, bad := range map[string]string{"no JSON": `{`, "no base64": `{"message": {"data": "%"}}`, "no news": `{"message": {"data": "e30x"}}`} {
		if got := w.send("POST", path, google.token(t, google.key, good), []byte(bad)); got != http.StatusBadRequest {
			t.Errorf("%s: %d", what, got)
		}
	}
	if got := w.send("POST", path, google.token(t, google.key, good), make([]byte, 5<<20)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("oversized: %d", got)
	}
	w.wantHints(1, "GitRepository app")
}
