package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/disktest"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// Options of a test's own installation. The zero value is one replica of each service and a git server without authentication.
type Options struct {
	Replicas int // of each service; 0 means 1
	Git      gittest.Options
	Flags    []string // more flags for every service
	Images   bool     // with the services that follow images
	Notifier bool     // with the service that tells people
	Hooks    bool     // with the service that hosts call
	// Idle leaves bus and services out: the test starts what it wants.
	Idle bool
	// Fronts puts proxies between services and bus, and between services and API server.
	Fronts bool
	// SmallDisks gives the bus and git-watcher file systems of their own, as far as this process may mount any.
	SmallDisks bool
}

// Env is one test's own: bus, services, git server and namespace.
type Env struct {
	*World
	*localrun.Installation
	Git       *gittest.Server
	Dir       string // data and logs; removed when the test passes
	Namespace string

	// BusFronts stand between services and bus, for each replica one of them, by turns; API between services and API server.
	BusFronts []*Proxy
	API       *APIFront
	// BusDisk and MirrorDisk hold the files of the bus and of git-watcher; nil where they lie in Dir.
	BusDisk, MirrorDisk *disktest.Disk

	t     testing.TB
	begun beginnings

	mu      sync.Mutex
	deaths  map[string]time.Time // by name of the replica: when it was surely dead
	pauses  map[string][]Span    // by name of the replica: when it was frozen
	commits map[string]int       // number of each commit, by hash
}

var keep = flag.Bool("keep", false, "keep the logs of tests that pass, too")

// startTime bounds the start of an installation.
const startTime = time.Minute

// Start starts an installation that ends with the test. Where the test fails, its logs stay and the test says where.
func (w *World) Start(t testing.TB, o Options) *Env {
	t.Helper()
	e := &Env{World: w, t: t, Dir: w.makeDir(t), deaths: map[string]time.Time{}, pauses: map[string][]Span{}, commits: map[string]int{}}
	e.Namespace = e.NewNamespace(t)
	e.startGit(o.Git)
	e.install(o)
	t.Cleanup(e.stop)
	if !o.Idle {
		e.startServices(max(1, o.Replicas))
	}
	return e
}

func (e *Env) install(o Options) {
	e.t.Helper()
	run := localrun.Options{
		BinDir: e.BinDir, Dir: e.Dir, Kubeconfig: e.Plane.Kubeconfig(), LogLevel: "debug", Flags: o.Flags, Output: e.begun.output, Images: o.Images, Hooks: o.Hooks, Notifier: o.Notifier,
	}
	if o.Fronts {
		e.startFronts(&run)
	}
	if o.SmallDisks {
		e.mountDisks(&run)
	}
	var err error
	if e.Installation, err = localrun.New(run); err != nil {
		e.t.Fatal(err)
	}
	for _, p := range e.BusFronts {
		p.SetTarget(strings.TrimPrefix(e.NATSURL(), "nats://"))
	}
}

func (w *World) makeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(w.logs, strings.NewReplacer("/", "-").Replace(t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || *keep {
			t.Logf("logs are in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's folder: %v", err)
		}
	})
	return dir
}

func (e *Env) startGit(o gittest.Options) {
	e.t.Helper()
	dir := filepath.Join(e.Dir, "git")
	if err := os.Mkdir(dir, 0o755); err != nil {
		e.t.Fatal(err)
	}
	var err error
	if e.Git, err = gittest.NewServer(dir, o); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = e.Git.Close() })
}

func (e *Env) startServices(replicas int) {
	e.t.Helper()
	if err := e.StartBus(); err != nil {
		e.t.Fatal(err)
	}
	if err := e.StartCache(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	var started []*localrun.Replica
	for range replicas {
		for _, service := range e.Services() {
			started = append(started, e.AddReplica(service))
		}
	}
	ctx, cancel := context.WithTimeout(e.t.Context(), startTime)
	defer cancel()
	for _, r := range started { // also those that ended already
		if err := r.WaitReady(ctx); err != nil {
			e.t.Fatal(err)
		}
	}
}

// AddReplica starts one more replica of a service, without waiting for it.
func (e *Env) AddReplica(service string) *localrun.Replica {
	e.t.Helper()
	r, err := e.StartReplica(service)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// AwaitReplicas returns when every replica that runs takes work.
func (e *Env) AwaitReplicas() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), startTime)
	defer cancel()
	if err := e.WaitReady(ctx); err != nil {
		e.t.Fatal(err)
	}
}

// KillReplica kills a replica as kill -9 does and notes when it was dead.
func (e *Env) KillReplica(r *localrun.Replica) {
	e.t.Helper()
	if err := r.Kill(); err != nil {
		e.t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaths[r.Name] = time.Now()
}

// FreezeReplica stops a replica in its tracks for d, or until ctx ends, and lets it go on.
func (e *Env) FreezeReplica(ctx context.Context, r *localrun.Replica, d time.Duration) error {
	from := time.Now()
	if err := r.Pause(); err != nil {
		return err
	}
	Pause(ctx, d)
	e.mu.Lock()
	e.pauses[r.Name] = append(e.pauses[r.Name], Span{from, time.Now()})
	e.mu.Unlock()
	return r.Resume()
}

// StopBusProcess ends the bus in order.
func (e *Env) StopBusProcess(t testing.TB) {
	t.Helper()
	if err := e.Bus().Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// stop ends the installation, looks for crashes in the logs, and removes the test's custom resources.
func (e *Env) stop() {
	e.Installation.Stop()
	for _, finding := range crashes(e.Dir) {
		e.t.Error(finding)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.removeResources(ctx); err != nil {
		e.t.Errorf("remove custom resources: %v", err)
	}
}

// removeResources takes the custom resources of the test away, finalizers or not: the next test's installation must not meet them.
func (e *Env) removeResources(ctx context.Context) error {
	var all []client.Object
	for _, list := range []client.ObjectList{
		&sourcev1.GitRepositoryList{}, &kustomizev1.KustomizationList{}, &imagev1.ImageRepositoryList{}, &imagev1.ImagePolicyList{}, &automationv1.ImageUpdateAutomationList{},
		&receiverv1.ReceiverList{}, &notifyv1.AlertList{}, &notifyv1.ProviderList{},
	} {
		if err := e.Client.List(ctx, list); err != nil {
			return err
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			return err
		}
		for _, item := range items {
			if obj, ok := item.(client.Object); ok {
				all = append(all, obj)
			}
		}
	}
	for _, obj := range all {
		if err := e.removeResource(ctx, obj); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func (e *Env) removeResource(ctx context.Context, obj client.Object) error {
	if len(obj.GetFinalizers()) > 0 {
		free := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := e.Client.Patch(ctx, obj, free); err != nil {
			return err
		}
	}
	return e.Client.Delete(ctx, obj)
}

// NewNamespace makes a namespace of an own name.
func (e *Env) NewNamespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	if err := e.Client.Create(t.Context(), ns); err != nil {
		t.Fatal(fmt.Errorf("make namespace: %w", err))
	}
	return ns.Name
}
