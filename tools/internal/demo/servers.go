package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/libs/process"
	"github.com/sluice-cd/sluice/tools/internal/install"
)

// startTimeout bounds each start but that of the control plane, which may have to be built.
const startTimeout = time.Minute

// programs are those of all services.
func programs() []string {
	return slices.Concat(localrun.Services, localrun.ImageServices, localrun.HookServices, localrun.TellServices)
}

// findPrograms looks for sluice and the services beside each other.
func findPrograms(dir string) (string, error) {
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find this program's folder: %w", err)
		}
		if self, err = filepath.EvalSymlinks(self); err != nil {
			return "", fmt.Errorf("find this program's folder: %w", err)
		}
		dir = filepath.Dir(self)
	}
	for _, name := range append([]string{"sluice", localrun.Bus}, programs()...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("the demo runs each service as a program of its own: %w; `make build` builds all of them", err)
		}
	}
	return dir, nil
}

// startControlPlane starts or takes the cluster, and installs the definitions of our custom resources.
func (d *demo) startControlPlane(ctx context.Context) error {
	o := controlplane.Options{Kubeconfig: d.options.Kubeconfig, ControllerManager: d.options.ControllerManager, Progress: d.options.Progress}
	if d.options.Keep {
		o.Dir = filepath.Join(d.folder.path, "controlplane")
	}
	plane, err := controlplane.StartOrUse(ctx, o)
	if err != nil {
		return err
	}
	d.plane = plane
	d.onStop(plane.Stop)
	if d.cluster, err = newCluster(plane.RESTConfig()); err != nil {
		return err
	}
	if d.version, err = d.cluster.version(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	created, err := install.CRDs(ctx, plane.RESTConfig(), install.Options{KeepExisting: plane.Given()})
	if plane.Given() {
		d.onStop(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), removeTime)
			defer cancel()
			return install.RemoveCRDs(ctx, plane.RESTConfig(), created)
		})
	}
	return err
}

// startGit starts the git server with the example repository.
func (d *demo) startGit(ctx context.Context) error {
	dir, err := d.folder.sub("git")
	if err != nil {
		return err
	}
	if d.git, err = gittest.NewServer(dir, gittest.Options{}); err != nil {
		return err
	}
	d.onStop(d.git.Close)
	if d.repository, err = d.git.CreateRepository(ctx, source); err != nil {
		return err
	}
	if d.files, err = firstFiles(d.images.localize); err != nil {
		return err
	}
	d.tip, err = d.repository.Commit(ctx, gittest.Commit{Branch: branch, Message: "three applications", Files: d.files})
	d.git.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			now := time.Now()
			d.handPush.Store(&now)
		}
		return false
	})
	return err
}

// startSluice starts the bus and the services, and looks after them.
func (d *demo) startSluice(ctx context.Context, bin string) error {
	dir, err := d.folder.sub("sluice")
	if err != nil {
		return err
	}
	flags := []string{"--log-format", "text"}
	if d.plane.Given() { // what else is in the cluster is none of the demo's
		flags = append(flags, "--watch-label-selector", partOf+"="+partOfDemo)
	}
	if d.host, err = newHost(dir); err != nil {
		return err
	}
	d.installation, err = localrun.New(localrun.Options{
		BinDir: bin, Dir: dir, Kubeconfig: d.plane.Kubeconfig(), Flags: flags, Images: true, Hooks: true, Notifier: true,
		ServiceFlags: map[string][]string{localrun.HookServices[0]: {"--webhook-endpoint-keys-dir", d.host.keys}},
	})
	if err != nil {
		return err
	}
	d.onStop(func() error { d.installation.Stop(); return nil })
	if err := d.installation.StartBus(); err != nil {
		return err
	}
	d.guard(ctx, d.installation.Bus())
	if err := d.startCache(ctx); err != nil {
		return err
	}
	return d.startServices(ctx)
}

func (d *demo) startCache(ctx context.Context) error {
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := d.installation.StartCache(start); err != nil {
		return err
	}
	d.guard(ctx, d.installation.Cache())
	return nil
}

func (d *demo) startServices(ctx context.Context) error {
	var replicas []*localrun.Replica
	for _, service := range d.installation.Services() {
		r, err := d.installation.StartReplica(service)
		if err != nil {
			return err
		}
		d.guard(ctx, r.Process)
		d.host.found(r)
		replicas = append(replicas, r)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, r := range replicas {
		if err := r.WaitReady(ctx); err != nil {
			return &loggedError{err, r.Log}
		}
	}
	return nil
}

// guard ends the demo with an error when a process ends by itself.
func (d *demo) guard(ctx context.Context, p *process.Process) {
	go func() {
		select {
		case <-p.Done():
			d.fail(&loggedError{fmt.Errorf("%s ended: %v", p.Name, p.Err()), p.Log})
		case <-ctx.Done():
		}
	}()
}

// openEyes watches what the services tell and what becomes of the cluster.
func (d *demo) openEyes(ctx context.Context) error {
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := bus.Connect(start, bus.Options{URL: d.installation.NATSURL(), Name: "demo", Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	d.onStop(func() error { conn.Close(); return nil })
	see := passTo(ctx, d.sightings)
	if err := followFacts(ctx, conn, see); err != nil {
		return err
	}
	return watchObjects(ctx, d.cluster.client, see)
}
