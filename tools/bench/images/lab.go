package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
	"github.com/sluice-cd/sluice/tools/internal/install"
)

const namespace = "images"

// bench is all that the measurements need.
type bench struct {
	options  *options
	dir      string
	plane    *controlplane.ControlPlane
	registry *registry
	server   *gittest.Server
	sluice   *localrun.Installation
	client   client.WithWatch
	scanner  *localrun.Replica
	scanned  []string // names of the images of the scan
}

// start brings up everything but the services.
func start(ctx context.Context, o *options) (_ *bench, err error) {
	log.SetLogger(logr.Discard())
	b := &bench{options: o, registry: startRegistry()}
	if b.dir, err = os.MkdirTemp("", "sluice-images-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the programs", b.build},
		{"starting the control plane", b.startPlane},
		{"starting the git server", b.startGit},
		{"starting bus and cache", b.startSluice},
	} {
		b.say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(err, b.stop())
		}
	}
	return b, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.options.progress, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (b *bench) stop() error {
	var errs []error
	if b.sluice != nil {
		b.sluice.Stop()
	}
	if b.server != nil {
		errs = append(errs, b.server.Close())
	}
	if b.plane != nil {
		errs = append(errs, b.plane.Stop())
	}
	b.registry.Close()
	if b.options.keep {
		b.say("data and logs are in %s", b.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

func (b *bench) build(ctx context.Context) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", filepath.Join(b.dir, "bin") + string(filepath.Separator), "./tools/cmd/sluice"}
	for _, service := range slices.Concat(localrun.Services, localrun.ImageServices) {
		args = append(args, "./services/"+service+"/cmd/"+service)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: %w\n%s", err, out)
	}
	return nil
}

func (b *bench) startPlane(ctx context.Context) error {
	var err error
	if b.plane, err = controlplane.Start(ctx, controlplane.Options{Dir: filepath.Join(b.dir, "controlplane"), Progress: b.options.progress}); err != nil {
		return err
	}
	config := b.plane.RESTConfig()
	if _, err := install.CRDs(ctx, config, install.Options{}); err != nil {
		return err
	}
	if b.client, err = client.NewWithWatch(config, client.Options{Scheme: kube.Scheme()}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (b *bench) startGit(context.Context) error {
	dir := filepath.Join(b.dir, "git")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for git: %w", err)
	}
	var err error
	b.server, err = gittest.NewServer(dir, gittest.Options{})
	return err
}

func (b *bench) startSluice(ctx context.Context) error {
	dir := filepath.Join(b.dir, "sluice")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for Sluice: %w", err)
	}
	unlimited := []string{"--registry-rps", "0"}
	var err error
	b.sluice, err = localrun.New(localrun.Options{
		BinDir: filepath.Join(b.dir, "bin"), Dir: dir, Kubeconfig: b.plane.Kubeconfig(), Images: true, ServiceFlags: map[string][]string{
			"registry-scanner": append(unlimited, "--concurrency", fmt.Sprint(b.options.concurrency)), "image-updater": unlimited,
		},
	})
	if err != nil {
		return err
	}
	if err := b.sluice.StartBus(); err != nil {
		return err
	}
	return b.sluice.StartCache(ctx)
}

// serve starts a service and returns when it takes work.
func (b *bench) serve(ctx context.Context, service string) (*localrun.Replica, error) {
	r, err := b.sluice.StartReplica(service)
	if err != nil {
		return nil, err
	}
	return r, r.WaitReady(ctx)
}

// create creates objects, many at once.
func (b *bench) create(ctx context.Context, objects []client.Object) error {
	return each(b.options.concurrency, objects, func(o client.Object) error { return b.client.Create(ctx, o) })
}

// request asks for runs of objects now, as `flux reconcile` and webhooks do.
func (b *bench) request(ctx context.Context, objects []client.Object) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))
	return each(b.options.concurrency, objects, func(o client.Object) error {
		return b.client.Patch(ctx, o.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", patch))
	})
}

// follow begins to watch all objects of a kind. What it returns waits until so many of them are as wanted.
func (b *bench) follow(ctx context.Context, list client.ObjectList, ok func(client.Object) bool, count int) func() error {
	ctx, cancel := context.WithTimeout(ctx, b.options.timeout)
	outcome := make(chan error, 1)
	go func() { // at once: the server drops who is slow
		defer cancel()
		outcome <- b.see(ctx, list, ok, count)
	}()
	return func() error { return <-outcome }
}

// see returns when so many objects were seen as wanted. A watch that ends is followed by another, which begins with what is there.
func (b *bench) see(ctx context.Context, list client.ObjectList, ok func(client.Object) bool, count int) error {
	done := map[string]bool{}
	for len(done) < count {
		w, err := b.client.Watch(ctx, list, client.InNamespace(namespace))
		if err != nil {
			return fmt.Errorf("watch, with %d of %d objects done: %w", len(done), count, err)
		}
		for event := range w.ResultChan() {
			if o, is := event.Object.(client.Object); is && event.Type != watch.Deleted && ok(o) {
				done[o.GetName()] = true
			}
			if len(done) == count {
				break
			}
		}
		w.Stop()
	}
	return nil
}

// resident is the memory of a process at its worst, in MiB.
func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "?"
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			var kib int
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return fmt.Sprint(kib >> 10)
			}
		}
	}
	return "?"
}
