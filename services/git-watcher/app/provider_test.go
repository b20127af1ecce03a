package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/gittest"
)

func TestGitHubProvider(t *testing.T) {
	var asked atomic.Int64
	hub := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/app/installations/42/access_tokens" {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprintf(rw, `{"token": "issued", "expires_at": %q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer hub.Close()
	w := newWorld(t, gittest.Options{Username: "x-access-token", Password: "issued"}, nil)
	w.repository("app", "a", "1")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	w.do(err)
	app := map[string][]byte{
		"githubAppID": []byte("7"), "githubAppBaseURL": []byte(hub.URL),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	w.create("app", func(s *sourcev1.GitRepositorySpec) { s.Provider = "github" })
	w.until("app", "stalled", func(r *sourcev1.GitRepository) bool {
		return is(r, meta.StalledCondition) == "True/InvalidProviderConfiguration"
	})
	w.secret("github", app)
	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.SecretRef = &meta.LocalObjectReference{Name: "github"} })
	w.fails("app", sourcev1.FetchFailedCondition, "True/InvalidProviderConfiguration") // neither owner nor installation
	app["githubAppInstallationID"] = []byte("41")
	w.secret("github", app)
	w.poke("app")
	w.fails("app", sourcev1.FetchFailedCondition, "True/AuthenticationFailed")
	app["githubAppInstallationID"] = []byte("42")
	w.secret("github", app)
	w.poke("app")
	w.ready("app", "")
	before := asked.Load()
	w.poke("app")
	if w.ready("app", ""); asked.Load() != before {
		t.Error("the token was not kept")
	}
	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.Provider = "" })
	w.fails("app", sourcev1.FetchFailedCondition, "True/InvalidProviderConfiguration")
}

func TestObjectIdentitiesAreASetting(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	w.repository("app", "a", "1")
	w.create("app", func(s *sourcev1.GitRepositorySpec) { s.Provider, s.ServiceAccountName = "azure", "someone" })
	w.until("app", "stalled", func(r *sourcev1.GitRepository) bool {
		return is(r, meta.StalledCondition) == "True/"+meta.FeatureGateDisabledReason
	})
}
