package app

import (
	"slices"
	"testing"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// TestEachChangeReachesAWebhookOnce: a system that takes events gets each change of state as one event in Flux's form, in order, however often
// it is told, and also when the notifier is started again.
func TestEachChangeReachesAWebhookOnce(t *testing.T) {
	w := newWorld(t, nil)
	hook := newHost(t)
	w.channel("hook", notifyv1.ProviderSpec{Type: "generic", Address: hook.URL}, nil, func(a *notifyv1.Alert) {
		a.Spec.EventMetadata = map[string]string{"env": "prod", "owner": "alert"}
	}, "GitRepository", "Kustomization")
	repo := w.repository("repo")
	web, other := w.app("web", "repo"), w.app("other", "repo")
	web.Annotations = map[string]string{"event.toolkit.fluxcd.io/owner": "team", "event.toolkit.fluxcd.io/page": "42"}
	w.do(w.cluster.Client.Update(t.Context(), web))

	story := func() {
		w.revised(repo, revision(1), revision(2), "a change")
		w.rendered(web, revision(2), false)
		w.rendered(other, revision(2), true)
		w.applied(other, revision(2), 0)
		w.failed(web, revision(2), meta.ReconciliationFailedReason, "Deployment/web is invalid: 1")
		w.failed(web, revision(2), meta.ReconciliationFailedReason, "Deployment/web is invalid: 2")
		w.applied(web, revision(2), 2)
		w.tell(kube.KustomizationReference(web), revision(2), &factsv1.Fact{Kind: &factsv1.Fact_HealthChanged{HealthChanged: &factsv1.HealthChanged{
			From: factsv1.Health_HEALTH_PROGRESSING, To: factsv1.Health_HEALTH_HEALTHY,
		}}})
	}
	story()
	want := []string{"NewArtifact", meta.ReconciliationFailedReason, meta.ReconciliationSucceededReason}
	reasons := func() (out []string) {
		for _, c := range hook.got() {
			out = append(out, c.JSON("reason").(string))
		}
		return out
	}
	w.eventually("three events", func() bool { return len(hook.got()) >= 3 })
	w.quiet()
	if got := reasons(); !slices.Equal(got, want) {
		t.Fatalf("events %v; want %v", got, want)
	}
	last := hook.got()[2]
	for name, c := range map[string]struct{ got, want any }{
		"kind":       {last.JSON("involvedObject", "kind"), "Kustomization"},
		"apiVersion": {last.JSON("involvedObject", "apiVersion"), "kustomize.toolkit.fluxcd.io/v1"},
		"name":       {last.JSON("involvedObject", "name"), "web"},
		"severity":   {last.JSON("severity"), "info"},
		"controller": {last.JSON("reportingController"), "kustomize-controller"},
		"revision":   {last.JSON("metadata", "revision"), revision(2)},
		"env":        {last.JSON("metadata", "env"), "prod"},
		"owner":      {last.JSON("metadata", "owner"), "alert"},
		"page":       {last.JSON("metadata", "page"), "42"},
		"failure":    {hook.got()[1].JSON("severity"), "error"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v; want %v", name, c.got, c.want)
		}
	}
	if events := w.events("hook"); events["MetadataAppendFailed"] == "" {
		t.Errorf("no Event about metadata that is set twice: %v", events)
	}
	keys := map[string]bool{}
	for _, c := range hook.got() {
		keys[c.Header.Get("Idempotency-Key")] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d idempotency keys for 3 messages", len(keys))
	}

	w.run() // again
	w.tell(repoRef(repo), revision(2), &factsv1.Fact{Kind: &factsv1.Fact_SourceRevised{SourceRevised: &factsv1.SourceRevised{
		Revision: revision(2), PreviousRevision: revision(1), ArtifactDigest: "sha256:" + revision(2),
	}}})
	w.applied(web, revision(2), 0)
	w.failed(other, revision(2), meta.HealthCheckFailedReason, "timeout") // the sign that all before was taken
	w.eventually("the event after the restart", func() bool { return len(hook.got()) >= 4 })
	if got := reasons(); !slices.Equal(got, append(want, meta.HealthCheckFailedReason)) {
		t.Errorf("events after a restart: %v", got)
	}
	if list, err := w.bus.Letters(t.Context(), bus.StreamDead, noChannel, false); err != nil || len(list) != 0 {
		t.Errorf("dead letters: %v, %v", list, err)
	}
}
