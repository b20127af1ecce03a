package cloud_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/services/notifier/internal/cloud"
)

// metadata is where a machine asks for its own identity.
func metadata(t *testing.T, answer func(*http.Request) string) (string, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("Content-Type", "application/json")
		if said := answer(r); said != "" {
			asked.Add(1)
			fmt.Fprint(w, said)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), &asked
}

func issuer(t *testing.T) *cloud.Issuer {
	t.Helper()
	i, err := cloud.New(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func named(account string) *notifyv1.Provider {
	p := &notifyv1.Provider{Spec: notifyv1.ProviderSpec{ServiceAccountName: account}}
	p.Namespace, p.Name = "team", "bus"
	return p
}

func TestGoogle(t *testing.T) {
	host, asked := metadata(t, func(r *http.Request) string {
		if strings.HasSuffix(r.URL.Path, "/service-accounts/default/token") {
			return `{"access_token":"of-google","expires_in":3600,"token_type":"Bearer"}`
		}
		return ""
	})
	t.Setenv("GCE_METADATA_HOST", host)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	of := issuer(t).For(named(""), nil)
	for range 2 {
		token, ends, err := of.Token(t.Context(), "gcp", "https://www.googleapis.com/auth/cloud-platform")
		if err != nil || token != "of-google" || time.Until(ends) < 50*time.Minute {
			t.Fatalf("%q %s %v", token, ends, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestAzure(t *testing.T) {
	host, asked := metadata(t, func(r *http.Request) string {
		if r.Header.Get("X-IDENTITY-HEADER") != "hunter2" {
			t.Errorf("%s %s", r.URL, r.Header)
		}
		return fmt.Sprintf(`{"access_token":"for %s","expires_on":"%d","resource":"x","token_type":"Bearer"}`, r.URL.Query().Get("resource"), time.Now().Add(time.Hour).Unix())
	})
	t.Setenv("IDENTITY_ENDPOINT", "http://"+host+"/token")
	t.Setenv("IDENTITY_HEADER", "hunter2")
	i := issuer(t)
	for range 2 {
		for _, resource := range []string{"https://eventhubs.azure.net/", "499b84ac-1321-427f-aa17-267ca6975798"} {
			token, ends, err := i.For(named(""), nil).Token(t.Context(), "azure", resource+"/.default")
			if err != nil || token != "for "+resource || time.Until(ends) < 50*time.Minute {
				t.Fatalf("%q %s %v", token, ends, err)
			}
		}
	}
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestRefused(t *testing.T) {
	if _, _, err := issuer(t).For(named("sender"), nil).Token(t.Context(), "azure", "x"); !errors.Is(err, cloud.ErrOthers) {
		t.Error(err)
	}
	if _, _, err := issuer(t).For(named(""), nil).Token(t.Context(), "aws", "x"); err == nil {
		t.Error("another cloud is taken")
	}
}
