package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// channelCase is a Provider whose Secret holds values that only its own service may see.
type channelCase struct {
	spec   notifyv1.ProviderSpec
	secret map[string]string
	cert   map[string]string // of spec.certSecretRef
	proxy  map[string]string // of spec.proxySecretRef
}

// channelCases are Providers of every type. At the address there is a service that says back all that it hears.
func channelCases(address string) map[string]channelCase {
	host := strings.TrimPrefix(address, "http://")
	// hook is of the types whose address is the secret, or part of it.
	hook := func(kind string) channelCase {
		return channelCase{spec: notifyv1.ProviderSpec{Type: kind, Channel: "channel"}, secret: map[string]string{
			"address": address + "/services/" + canary + "/hook?key=" + canary, "token": "token-" + canary, "headers": "X-Key: " + canary + "\nAuthorization: Bearer " + canary,
			"proxy": "", "username": "jane", "password": "password-" + canary,
		}}
	}
	// forge is of those at a repository.
	forge := func(kind string) channelCase {
		return channelCase{spec: notifyv1.ProviderSpec{Type: kind, Address: address + "/team/repo"}, secret: map[string]string{"token": "token-" + canary, "username": "jane", "password": "password-" + canary}}
	}
	cases := map[string]channelCase{}
	for _, kind := range []string{
		notifyv1.AlertManagerProvider, notifyv1.DataDogProvider, notifyv1.DiscordProvider, notifyv1.GenericHMACProvider, notifyv1.GenericProvider, notifyv1.GoogleChatProvider, notifyv1.GrafanaProvider,
		notifyv1.LarkProvider, notifyv1.Matrix, notifyv1.MSTeamsProvider, notifyv1.OpsgenieProvider, notifyv1.OTELProvider, notifyv1.PagerDutyProvider, notifyv1.RocketProvider, notifyv1.SlackProvider,
		notifyv1.TelegramProvider, notifyv1.WebexProvider, notifyv1.GooglePubSubProvider,
	} {
		cases[kind] = hook(kind)
	}
	for _, kind := range []string{
		notifyv1.BitbucketServerProvider, notifyv1.GiteaProvider, notifyv1.GiteaPullRequestCommentProvider, notifyv1.GitHubProvider, notifyv1.GitHubPullRequestCommentProvider,
		notifyv1.GitHubDispatchProvider, notifyv1.GitLabProvider, notifyv1.GitLabMergeRequestCommentProvider,
	} {
		cases[kind] = forge(kind)
	}
	bitbucketServer := forge(notifyv1.BitbucketServerProvider)
	bitbucketServer.spec.Address = address + "/scm/team/repo.git"
	cases[notifyv1.BitbucketServerProvider] = bitbucketServer
	cases["slack-bot"] = channelCase{spec: notifyv1.ProviderSpec{Type: "slack", Channel: "channel", Address: address + "/api/chat.postMessage"}, secret: map[string]string{"token": "xoxb-" + canary}}
	zulip := hook(notifyv1.ZulipProvider)
	zulip.spec.Channel = "general/alerts"
	cases[notifyv1.ZulipProvider] = zulip
	for name, c := range map[string]channelCase{
		"sentry":        {spec: notifyv1.ProviderSpec{Type: "sentry"}, secret: map[string]string{"address": "http://" + canary + "@" + host + "/1"}},
		"nats":          {spec: notifyv1.ProviderSpec{Type: "nats", Channel: "events"}, secret: map[string]string{"address": "nats://jane:" + canary + "@" + host}},
		"nats-creds":    {spec: notifyv1.ProviderSpec{Type: "nats", Channel: "events", Address: "nats://" + host}, secret: map[string]string{"creds": canary, "nkey": canary}},
		"eventhub":      {spec: notifyv1.ProviderSpec{Type: "azureeventhub"}, secret: map[string]string{"address": "Endpoint=sb://" + host + "/;SharedAccessKeyName=send;SharedAccessKey=" + canary + ";EntityPath=events"}},
		"eventhub-jwt":  {spec: notifyv1.ProviderSpec{Type: "azureeventhub", Address: host, Channel: "events"}, secret: map[string]string{"token": canary}},
		"azuredevops":   {spec: notifyv1.ProviderSpec{Type: "azuredevops", Address: address + "/org/project/_git/repo"}, secret: map[string]string{"token": canary}},
		"bitbucket":     {spec: notifyv1.ProviderSpec{Type: "bitbucket", Address: "https://127.0.0.1:1/team/repo"}, secret: map[string]string{"token": "jane:" + canary}},
		"github-app":    {spec: notifyv1.ProviderSpec{Type: "github", Address: address + "/team/repo"}, secret: map[string]string{"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "-----BEGIN RSA PRIVATE KEY-----\n" + canary + "\n-----END RSA PRIVATE KEY-----\n", "githubAppBaseURL": address}},
		"pubsub":        {spec: notifyv1.ProviderSpec{Type: "googlepubsub", Address: "project", Channel: "topic"}, secret: map[string]string{"token": `{"type":"service_account","client_email":"a@b.c","private_key":"` + canary + `","token_uri":"` + address + `"}`}},
		"bad-headers":   {spec: notifyv1.ProviderSpec{Type: "generic", Address: address}, secret: map[string]string{"headers": "X-Key: [" + canary}},
		"bad-address":   {spec: notifyv1.ProviderSpec{Type: "generic"}, secret: map[string]string{"address": "ht tp://" + canary}},
		"bad-proxy":     {spec: notifyv1.ProviderSpec{Type: "generic", Address: "http://service.invalid/x"}, secret: map[string]string{"proxy": "http://jane:" + canary + "@" + host}},
		"proxy":         {spec: notifyv1.ProviderSpec{Type: "generic", Address: "https://service.invalid/x"}, proxy: map[string]string{"address": address, "username": "jane", "password": canary}},
		"bad-key":       {spec: notifyv1.ProviderSpec{Type: "generic", Address: address}, cert: map[string]string{"tls.crt": canary, "tls.key": canary, "ca.crt": canary}},
		"bad-authority": {spec: notifyv1.ProviderSpec{Type: "gitlab", Address: address + "/team/repo"}, secret: map[string]string{"token": canary, "ca.crt": canary}},
	} {
		cases[name] = c
	}
	return cases
}

// mirror answers every request with a status and all that it heard, which is the worst that a service can do with what it is told.
func mirror(t *testing.T, status int) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<10))
		user, password, _ := r.BasicAuth()
		heard := fmt.Sprintf("%s %s %v %s:%s %s", r.Method, r.URL, r.Header, user, password, body)
		text, err := json.Marshal(map[string]any{"message": heard, "error": heard, "description": heard})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestSecretsOfChannelsAreSeenNowhere tells things through Providers of every type whose services say back all that they hear, refuse, fail, or cannot be reached, and
// whose Secrets are wrong in every way. What is in the Secrets must not be in what other channels are told, nor in Events, logs, the bus and its files, metrics, or stacks.
func TestSecretsOfChannelsAreSeenNowhere(t *testing.T) {
	e := world.Start(t, harness.Options{Notifier: true})
	s := newScene(t, e, e.Git)
	witness := newWitness(t)
	tell := func(name string, c channelCase) {
		meta := metav1.ObjectMeta{Namespace: s.namespace, Name: name}
		if c.secret != nil {
			c.spec.SecretRef = s.secret(name, c.secret)
		}
		if c.cert != nil {
			c.spec.CertSecretRef = s.secret(name+"-cert", c.cert)
		}
		if c.proxy != nil {
			c.spec.ProxySecretRef = s.secret(name+"-proxy", c.proxy)
		}
		e.Create(t, &notifyv1.Provider{ObjectMeta: meta, Spec: c.spec}, alertFor(meta))
	}
	tell("witness", channelCase{spec: notifyv1.ProviderSpec{Type: "generic", Address: witness.URL}})
	var names []string
	for mode, status := range map[string]int{"refused": 400, "login": 401, "failed": 500} {
		for name, c := range channelCases(mirror(t, status).URL) {
			names = append(names, name+"."+mode)
			tell(name+"."+mode, c)
		}
	}
	harness.Pause(t.Context(), time.Second) // an alert is told of what happens after it was made
	s.app.Annotations = map[string]string{"event.toolkit.fluxcd.io/change_request": "1"}
	s.application(nil)
	harness.AwaitReady(t, e, s.app, settle)
	s.push(gittest.Commit{Files: map[string]string{"app/kustomization.yaml": "resources: [gone.yaml]\n"}})
	harness.Until(t, recovery, "an Event about each Provider", func() error { return wantWarned(t, s, names) })
	harness.Until(t, recovery, "the witness is told of the failure", func() error { return witness.has("BuildFailed") })

	witness.wantNone(t)
	wantNoCanaryInMetrics(t, e)
	dumpStacks(t, e)
	wantNoCanary(t, e, 1)
	wantNoCanaryOnDisk(t, e)
}

func alertFor(at metav1.ObjectMeta) *notifyv1.Alert {
	return &notifyv1.Alert{ObjectMeta: at, Spec: notifyv1.AlertSpec{ProviderRef: meta.LocalObjectReference{Name: at.Name}, EventSources: []notifiersv1.CrossNamespaceObjectReference{
		{Kind: "GitRepository", Name: "*"}, {Kind: "Kustomization", Name: "*"},
	}}}
}

// wantWarned holds that each Provider was tried and went wrong: where nothing was said, nothing could be given away.
func wantWarned(t *testing.T, s *scene, names []string) error {
	t.Helper()
	var list corev1.EventList
	if err := s.e.Client.List(t.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	warned := map[string]bool{}
	for _, event := range list.Items {
		warned[event.InvolvedObject.Name] = warned[event.InvolvedObject.Name] || event.Type == corev1.EventTypeWarning
	}
	var missing []string
	for _, name := range names {
		if !warned[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d: %v", len(missing), len(names), missing)
	}
	return nil
}

// witness is a channel that keeps all that it is told.
type witness struct {
	*httptest.Server
	mu   sync.Mutex
	told strings.Builder
}

func newWitness(t *testing.T) *witness {
	w := &witness{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		fmt.Fprintln(&w.told, r.Header, string(body))
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *witness) has(word string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(w.told.String(), word) {
		return fmt.Errorf("nothing of %s", word)
	}
	return nil
}

func (w *witness) wantNone(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	wantNoneOf(t, "what another channel was told", w.told.String())
}
