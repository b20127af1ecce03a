package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// demo is what runs, and what is known of it.
type demo struct {
	options *Options
	console *console
	folder  *folder
	stops   []func() error          // in the order of the starts
	fail    context.CancelCauseFunc // ends the demo

	plane        *controlplane.ControlPlane
	version      string // of the API server
	cluster      *cluster
	git          *gittest.Server
	host         *host
	slack        *slack
	images       *images
	repository   *gittest.Repository
	handPush     atomic.Pointer[time.Time] // when somebody last pushed over HTTP
	installation *localrun.Installation
	resources    []*unstructured.Unstructured
	apps         int // how many of them are Kustomizations

	files     files  // of the commit that is the branch's tip
	tip       string // its hash
	world     *world
	sightings chan sighting
}

// Run runs the demo and tells about it on out. It returns nil when all commits have come through, and stays up before that until ctx
// ends unless told to exit. Nothing that it started runs on when it returns.
func Run(ctx context.Context, o *Options, out io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer stop()
	d := &demo{options: o, console: newConsole(out), world: newWorld(), sightings: make(chan sighting, 4096)}
	inner, fail := context.WithCancelCause(ctx)
	d.fail = fail
	err := d.run(inner)
	var ended *loggedError
	switch cause := context.Cause(inner); {
	case ctx.Err() != nil && err != nil:
		err = errInterrupted
	case errors.As(cause, &ended):
		err = cause // the reason for what came after
	}
	fail(nil)
	d.console.line("\n%s", d.console.paint(faint, "Stopping all of it."))
	err = errors.Join(withLog(err), d.stop())
	if o.Keep && d.folder != nil {
		d.console.line("Data and logs are kept in %s", d.folder.path)
	}
	return err
}

func (d *demo) run(ctx context.Context) error {
	bin, err := findPrograms(d.options.BinDir)
	if err != nil {
		return err
	}
	if d.folder, err = newFolder(d.options.Keep); err != nil {
		return err
	}
	d.onStop(d.folder.remove)
	if err := d.start(ctx, bin); err != nil {
		return err
	}
	outcomes, err := d.pushAll(ctx)
	if err != nil {
		return err
	}
	if err := d.showChannel(ctx); err != nil {
		return err
	}
	d.console.summarize(outcomes, d.version)
	if d.options.Exit {
		return nil
	}
	return d.stayUp(ctx)
}

// start starts everything and returns when the first commit is in the cluster.
func (d *demo) start(ctx context.Context, bin string) error {
	c := d.console
	c.line("%s", c.paint(bold, "Sluice: a push to git becomes cluster state. All of it on this machine:"))
	for _, part := range []struct {
		name   string
		start  func() error
		detail func() string
	}{
		{"Kubernetes", func() error { return d.startControlPlane(ctx) }, d.describeControlPlane},
		{"registry", func() error { return d.startRegistry(ctx) }, func() string { return d.images.host() }},
		{"git server", func() error { return d.startGit(ctx) }, func() string { return d.git.URL(source) }},
		{"Slack", d.startSlack, func() string { return "a workspace with the channel " + channel }},
		{"Sluice", func() error { return d.startSluice(ctx, bin) }, describeSluice},
		{"applications", func() error { return d.firstSync(ctx) }, d.describeApplications},
	} {
		began := time.Now()
		if err := part.start(); err != nil {
			return fmt.Errorf("start %s: %w", part.name, err)
		}
		c.started(part.name, part.detail(), time.Since(began))
	}
	return nil
}

func (d *demo) describeControlPlane() string {
	switch {
	case d.plane.Given():
		return d.version + ", the given cluster " + d.plane.RESTConfig().Host
	case d.options.ControllerManager:
		return d.version + ": API server, etcd, controller manager"
	}
	return d.version + ": API server, etcd"
}

func describeSluice() string {
	return fmt.Sprintf("%s, the cache and the bus, a process each", strings.Join(programs(), ", "))
}

func (d *demo) describeApplications() string {
	objects, _ := d.world.isReady(d.apps)
	return fmt.Sprintf("%d Kustomizations with %d objects, from the first commit", d.apps, objects)
}

func (d *demo) onStop(stop func() error) { d.stops = append(d.stops, stop) }

// stop stops everything in reverse order.
func (d *demo) stop() error {
	var errs []error
	for i := len(d.stops) - 1; i >= 0; i-- {
		errs = append(errs, d.stops[i]())
	}
	return errors.Join(errs...)
}
