package update

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/access"
	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/service"
)

// The environment of a process that runs the stage until it is killed.
const (
	victimBus       = "SLUICE_TEST_BUS"
	victimCluster   = "SLUICE_TEST_CLUSTER"
	victimNamespace = "SLUICE_TEST_NAMESPACE"
	victimDir       = "SLUICE_TEST_DIR"
)

// victim runs the stage in a process of its own, for ever.
func victim() {
	check := func(err error) {
		if err != nil {
			slog.Error("victim", "err", err)
			os.Exit(1)
		}
	}
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	conn, err := bus.Connect(ctx, bus.Options{URL: os.Getenv(victimBus), Name: "victim", Log: log})
	check(err)
	kc, err := kube.Connect(kube.Options{Kubeconfig: os.Getenv(victimCluster), Log: log, WatchLabelSelector: worldLabel + "=" + os.Getenv(victimNamespace)})
	check(err)
	events, err := kc.NewEvents("image-updater")
	check(err)
	mirrors, err := git.NewMirrors(git.Options{Dir: os.Getenv(victimDir), InsecureHosts: []string{"*"}})
	check(err)
	env := service.NewEnv(service.Deps{
		Log: log, Registry: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider().Tracer(""), Bus: conn, Cluster: kc,
	}, service.Holder("victim"))
	s, err := New(ctx, Config{Env: env, Events: events, Mirrors: mirrors, Git: &access.Reader{Secrets: kc, Mirrors: mirrors}, Slots: 2})
	check(err)
	check(kc.Start(ctx))
	s.Run(ctx)
}

// process starts a victim and says when it is dead.
func (w *world) process() (kill func(), dead chan struct{}) {
	w.Helper()
	c := exec.Command(os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), victimBus+"="+w.server.ClientURL(), victimCluster+"="+cluster.Kubeconfig(), victimNamespace+"="+w.namespace, victimDir+"="+w.TempDir())
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	dead = make(chan struct{})
	go func() { _ = c.Wait(); close(dead) }()
	kill = func() { _ = c.Process.Kill() }
	w.Cleanup(func() { kill(); <-dead })
	return kill, dead
}

// TestKilledAroundAPush: a process that is killed before its push reached the server, or after the server took it and before it said so, leaves
// nothing undone and nothing to be done twice.
func TestKilledAroundAPush(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after", "after, and there is another version"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Options{})
			w.commit("first", map[string]string{"web.yaml": deployment})
			w.source()
			w.policy("web", "*")
			w.automation()
			kill, dead := w.process()
			var once sync.Once
			mark := filepath.Join(t.TempDir(), "pushed")
			if when != "before" {
				// The hook holds the answer back until the process is dead.
				if err := w.repo.InstallHook("post-receive", "#!/bin/sh\ntouch '"+mark+"'\nwhile [ -e '"+mark+"' ]; do sleep 0.05; done\n"); err != nil {
					t.Fatal(err)
				}
				go func() {
					for _, err := os.Stat(mark); err != nil; _, err = os.Stat(mark) {
						if t.Context().Err() != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
					kill()
					<-dead
					_ = os.Remove(mark)
				}()
			} else {
				w.git.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
						once.Do(func() { kill(); <-dead })
						return true
					}
					return false
				})
			}
			w.played()
			w.choose("web", "1.1.0")
			select {
			case <-dead:
			case <-time.After(20 * time.Second):
				t.Fatal("the process did not come to its push")
			}
			w.git.SetHook(nil)
			w.until("the server is done", func() bool { _, err := os.Stat(mark); return err != nil })
			if err := w.repo.InstallHook("post-receive", "#!/bin/sh\n"); err != nil {
				t.Fatal(err)
			}
			if when != "before" && !w.runs("1.1.0") {
				t.Fatal("the push was not done, so this tests nothing")
			}
			last, commits := "1.1.0", 1
			if strings.HasSuffix(when, "another version") {
				last, commits = "1.2.0", 2
				w.choose("web", last)
			}
			w.start()
			w.until(last, func() bool { return w.runs(last) })
			w.until("a status", func() bool {
				return w.get().Status.LastPushCommit != "" && w.condition(meta.ReadyCondition).Status == metav1.ConditionTrue
			})
			if got := w.gitOut("rev-list", "--count", "main"); got != fmt.Sprint(1+commits) {
				t.Errorf("%s commits; want %d", got, 1+commits)
			}
			w.until("the status names the last commit", func() bool { return w.get().Status.LastPushCommit == w.gitOut("rev-parse", "main") })
			w.until("a fact about each commit", func() bool { return w.facts(bus.FactImageUpdated) >= commits })
			if got := w.facts(bus.FactImageUpdated); got != commits {
				t.Errorf("%d facts about %d commits", got, commits)
			}
		})
	}
}

// facts counts those of a kind on the bus.
func (w *world) facts(kind string) int {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), bus.StreamFacts)
	if err != nil {
		w.Fatal(err)
	}
	info, err := stream.Info(w.Context(), jetstream.WithSubjectFilter(bus.FactFilter(kind)))
	if err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n
}

// TestRivals: people push to the branch all the time while two replicas update it; nobody's commit is lost and no update made twice.
func TestRivals(t *testing.T) {
	t.Parallel()
	const rivals, each, versions = 5, 4, 4
	w := ready(t)
	w.start()
	var all sync.WaitGroup
	var failed atomic.Int32
	for r := range rivals {
		mirrors, err := git.NewMirrors(git.Options{Dir: t.TempDir(), InsecureHosts: []string{"*"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = mirrors.Close() })
		all.Go(func() {
			for i := range each {
				_, err := branch.Update(t.Context(), branch.Job{
					Options: branch.Options{Mirrors: mirrors, Source: git.Source{URL: w.git.URL("org/apps"), Ref: git.Ref{Branch: "main"}}},
					Make: func(context.Context, *branch.Branch) (*branch.Draft, error) {
						return &branch.Draft{
							Changes: map[string][]byte{fmt.Sprintf("rival-%d-%d", r, i): []byte("x")}, Message: "rival", When: time.Now(),
							Author: branch.Person{Name: "jane", Email: "jane@example.com"},
						}, nil
					},
				})
				if err != nil {
					t.Error(err)
					failed.Add(1)
				}
			}
		})
	}
	for v := range versions {
		tag := fmt.Sprintf("2.0.%d", v)
		w.choose("web", tag)
		w.until(tag, func() bool { return w.runs(tag) })
	}
	all.Wait()
	if got := strings.Count(w.gitOut("ls-tree", "--name-only", "main"), "rival-"); got != rivals*each {
		t.Errorf("%d of %d commits of rivals are there", got, rivals*each)
	}
	if got, want := w.gitOut("rev-list", "--count", "main"), fmt.Sprint(1+rivals*each+versions); got != want {
		t.Errorf("%s commits; want %s", got, want)
	}
}
