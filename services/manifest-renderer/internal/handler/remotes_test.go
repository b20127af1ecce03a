package handler

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus/bustest"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/remote"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// fetching lets a world fetch from this machine.
func (w *world) fetching() {
	fetcher, err := remote.New(remote.Options{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Wake: WakeRender(w.bus), Log: bustest.Logger(w.t),
	})
	w.check(err)
	w.handler.Remotes = fetcher
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); fetcher.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-stopped })
}

func TestRemoteBaseIsFollowed(t *testing.T) {
	server, err := gittest.NewServer(t.TempDir(), gittest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	base, err := server.CreateRepository(t.Context(), "org/base")
	if err != nil {
		t.Fatal(err)
	}
	commit := func(value string) {
		t.Helper()
		_, err := base.Commit(t.Context(), gittest.Commit{Files: map[string]string{
			"deploy/kustomization.yaml": "resources: [a.yaml]\n", "deploy/a.yaml": configMap("remote", value),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	commit("one")
	w := newWorld(t)
	w.fetching()
	w.start()
	files := map[string]string{
		"app/kustomization.yaml":   "resources: ['" + server.URL("org/base") + "//deploy?ref=main']\n",
		"other/kustomization.yaml": "resources: ['" + server.URL("org/none") + "//deploy']\n", "x": "1",
	}
	revision := w.push(files)
	w.kustomization("app", "app", func(s *kustomizev1.KustomizationSpec) { s.Interval = metav1.Duration{Duration: 2 * time.Second} })
	w.kustomization("slow", "app", nil)
	w.kustomization("other", "other", nil)
	first := w.await("app", func(r state.Rendered) bool { return r.Set != "" && r.Told })
	w.await("slow", func(r state.Rendered) bool { return r.Set != "" && r.Told })
	if got := w.objects(first.Set); !strings.Contains(got, `"v":"one"`) || first.Remotes == "" || strings.Contains(first.Remotes, "127.0.0.1") {
		t.Errorf("%s, %q", got, first.Remotes)
	}
	failed := w.await("other", func(r state.Rendered) bool { return r.Reason != "" && r.Told })
	if !strings.Contains(failed.Message, "/org/none.git") || failed.SourceRevision != revision {
		t.Errorf("message %q", failed.Message)
	}
	// A commit that touches nothing of it is not built, and what is there stays.
	files["x"] = "2"
	w.await("slow", at(w.push(files, "x")))
	commit("two")
	w.await("app", func(r state.Rendered) bool { return r.Told && strings.Contains(w.objects(r.Set), `"v":"two"`) })
	w.request("slow")
	w.await("slow", func(r state.Rendered) bool { return r.Told && strings.Contains(w.objects(r.Set), `"v":"two"`) })
}

// wakes are those that passed.
type wakes []string

func (w *wakes) Trigger(_ context.Context, _ types.NamespacedName, hint stage.Hint) {
	*w = append(*w, hint.Cause)
}

// Each replica sees a deletion, and one of them has the run.
func TestDeletedKustomizationsAreForgottenByAll(t *testing.T) {
	h := &Handler{Sets: NewSets(nil, nil)}
	key := types.NamespacedName{Namespace: "team", Name: "app"}
	h.Sets.noteRead("reads", tree.ReadSet{})
	h.Sets.Remember(key, "reads")
	h.remotes.Store(key, []render.Address{})
	h.requests.Store(key, request{})
	known := func() bool {
		_, remotes := h.remotes.Load(key)
		_, requests := h.requests.Load(key)
		return remotes || requests || h.Sets.LastRead(key) != nil
	}
	var passed wakes
	w := Watched{&passed, h}
	w.Trigger(t.Context(), key, stage.Hint{Cause: "changed"})
	if !known() {
		t.Error("a change was taken for a deletion")
	}
	w.Trigger(t.Context(), key, stage.Hint{Cause: "deleted"})
	if known() {
		t.Error("it is still known")
	}
	if !slices.Equal(passed, wakes{"changed", "deleted"}) {
		t.Errorf("passed %v", passed)
	}
}
