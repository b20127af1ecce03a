package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// hub is GitHub's API as far as Apps need it. It checks what GitHub checks.
type hub struct {
	*httptest.Server
	key *rsa.PrivateKey
	now time.Time

	mu       sync.Mutex
	requests []string
}

func newHub(t *testing.T) *hub {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{key: key, now: time.Now()}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Close)
	return h
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r.Method+" "+r.URL.EscapedPath())
	if err := h.check(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/v3/orgs/acme/installation", "GET /api/v3/users/jane/installation":
		fmt.Fprint(w, `{"id": 42}`)
	case "POST /api/v3/app/installations/42/access_tokens":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": "token%d", "expires_at": %q}`, len(h.requests), h.now.Add(time.Hour).UTC().Format(time.RFC3339))
	case "POST /api/v3/app/installations/43/access_tokens":
		http.Redirect(w, r, "/api/v3/app/installations/42/access_tokens", http.StatusTemporaryRedirect)
	case "POST /api/v3/app/installations/44/access_tokens":
		fmt.Fprint(w, "<html>")
	default:
		http.NotFound(w, r)
	}
}

func (h *hub) check(claim string) error {
	parts := strings.Split(claim, ".")
	if len(parts) != 3 {
		return errors.New("no JWT")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&h.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct {
		Issuer string `json:"iss"`
		From   int64  `json:"iat"`
		Until  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	if now := h.now.Unix(); claims.Issuer != "7" || claims.From > now || claims.Until <= now || claims.Until-claims.From > 600 {
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}

func (h *hub) secret(pairs ...string) map[string][]byte {
	s := map[string][]byte{
		keyAppID: []byte("7\n"), keyBaseURL: []byte(h.URL + "/api/v3/"),
		keyPrivateKey: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(h.key)}),
	}
	for i := 0; i < len(pairs); i += 2 {
		s[pairs[i]] = []byte(pairs[i+1])
	}
	return s
}

func TestGitHubApp(t *testing.T) {
	h := newHub(t)
	issuer, err := NewIssuer(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	issuer.tokens.now = func() time.Time { return h.now }
	get := func(pairs ...string) (string, error) {
		t.Helper()
		app, err := NewGitHubApp(h.secret(pairs...))
		if err != nil {
			t.Fatal(err)
		}
		return issuer.GitHub(t.Context(), app, http.DefaultClient)
	}
	first, err := get(keyOwner, "acme")
	if err != nil || first != "token2" {
		t.Fatal(first, err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if again, err := get(keyOwner, "acme"); err != nil || again != first {
				t.Error("not kept:", again, err)
			}
		})
	}
	all.Wait()
	h.now = h.now.Add(56 * time.Minute) // four minutes before its end
	if next, err := get(keyOwner, "acme"); err != nil || next == first {
		t.Fatal(next, err)
	}
	if user, err := get(keyOwner, "jane"); err != nil || user == "" {
		t.Fatal(user, err)
	}
	if direct, err := get(keyInstallationID, "42"); err != nil || direct == "" {
		t.Fatal(direct, err)
	}
	for name, pairs := range map[string][]string{
		"unknown owner": {keyOwner, "nobody"}, "owner that climbs": {keyOwner, "../../app/installations/42"}, "unknown installation": {keyInstallationID, "1"},
		"another app": {keyInstallationID, "42", keyAppID, "8"}, "redirect": {keyInstallationID, "43"}, "no JSON": {keyInstallationID, "44"}, "nobody there": {keyInstallationID, "42", keyBaseURL, "http://127.0.0.1:1"},
	} {
		token, err := get(pairs...)
		if err == nil || token != "" {
			t.Errorf("%s: %q, %v", name, token, err)
		} else if strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: the error tells too much: %v", name, err)
		}
	}
}

func TestGitHubAppSecret(t *testing.T) {
	h := newHub(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := x509.MarshalPKCS8PrivateKey(h.key)
	if err != nil {
		t.Fatal(err)
	}
	armor := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	for name, c := range map[string]struct {
		pairs []string
		words string // of the error; empty for none
	}{
		"owner": {[]string{keyOwner, "a"}, ""}, "installation": {[]string{keyInstallationID, "1"}, ""}, "PKCS 8": {[]string{keyOwner, "a", keyPrivateKey, armor(rsaKey)}, ""},
		"both": {[]string{keyOwner, "a", keyInstallationID, "1"}, "exactly one"}, "neither": {nil, "exactly one"}, "id": {[]string{keyOwner, "a", keyAppID, "x"}, keyAppID},
		"installation is no number": {[]string{keyInstallationID, "1/../2"}, keyInstallationID}, "no key": {[]string{keyOwner, "a", keyPrivateKey, "x"}, keyPrivateKey},
		"another kind of key": {[]string{keyOwner, "a", keyPrivateKey, armor(ecKey)}, keyPrivateKey}, "rubbish in PEM": {[]string{keyOwner, "a", keyPrivateKey, armor([]byte("x"))}, keyPrivateKey},
		"address": {[]string{keyOwner, "a", keyBaseURL, "file:///etc"}, keyBaseURL},
	} {
		app, err := NewGitHubApp(h.secret(c.pairs...))
		if c.words == "" {
			if err != nil || app == nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, ErrConfiguration) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if app, err := NewGitHubApp(map[string][]byte{keyAppID: []byte("1"), keyOwner: []byte("a"), keyPrivateKey: h.secret()[keyPrivateKey]}); err != nil || app.API.String() != githubAPI {
		t.Error(app, err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	k := &tokens{now: time.Now, known: map[string]*token{}}
	for i := range 3 * maxTokens {
		k.entry(fmt.Sprint(i))
	}
	if len(k.known) > maxTokens {
		t.Fatalf("%d tokens", len(k.known))
	}
}

// AWS signs a request for the repository with the identity of the process.
func TestAWS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_CA_BUNDLE", "")
	issuer, err := NewIssuer(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "https", Host: "git-codecommit.eu-west-1.amazonaws.com", Path: "/v1/repos/app"}
	found, err := issuer.Cloud(t.Context(), Request{Provider: "aws", URL: u, Namespace: "ns", Name: "app"})
	if err != nil || !strings.HasPrefix(found.Username, "AKIDEXAMPLE") || found.Password == "" || strings.Contains(found.Password, "topsecret") {
		t.Fatalf("%q, %v", found.Username, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", found, found, &found); strings.Contains(text, found.Password) {
		t.Fatal("credentials print themselves")
	}
	u.Host = "git.example.com"
	if _, err := issuer.Cloud(t.Context(), Request{Provider: "aws", URL: u, Namespace: "ns"}); err == nil {
		t.Fatal("signed for somebody else")
	}
	if _, err := issuer.Cloud(t.Context(), Request{Provider: "azure", URL: u, Namespace: "ns", ServiceAccount: "sa"}); !errors.Is(err, ErrOthers) {
		t.Fatal(err)
	}
}
