package lab

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// Options say how large the fleet is and how it is served.
type Options struct {
	Apps         int
	Interval     time.Duration // of all custom resources
	Timeout      time.Duration // of everything that is waited for
	SyncInterval time.Duration // of the bus; 0 syncs every write
	Flags        []string      // more flags for every service
	Notifier     bool          // with the service that tells people
	Keep         bool          // leave the folder with data and logs
	Progress     io.Writer
}

// Lab is all that a measurement needs.
type Lab struct {
	*Site
	Options Options

	// Apps are the Kustomizations by name.
	Apps *Tracker[*kustomizev1.Kustomization]
	// Values are those of the applications' ConfigMaps, by namespace.
	Values *Tracker[string]

	repository *gittest.Repository
	head       string
	requests   int // for a reconciliation, so far
}

// Start brings everything up, with the repository and the namespaces in place and no custom resource yet.
func Start(ctx context.Context, o Options) (*Lab, error) {
	services := localrun.Services
	if o.Notifier {
		services = slices.Concat(services, localrun.TellServices)
	}
	site, err := StartSite(ctx, SiteOptions{
		Packages: append(CommandPackages(localrun.Bus), ServicePackages(services...)...), Keep: o.Keep, Progress: o.Progress,
		Probes: []client.Object{workload.GitRepository("https://probe.invalid/probe.git", time.Hour), workload.Kustomization("probe", "./", time.Hour)},
	})
	if err != nil {
		return nil, err
	}
	l := &Lab{Site: site, Options: o, Apps: NewTracker[*kustomizev1.Kustomization](), Values: NewTracker[string]()}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"making the repository", l.makeRepository},
		{"making namespaces", l.makeNamespaces},
		{"starting Sluice", l.startSluice},
		{"watching", l.watch},
	} {
		l.Say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return nil, errors.Join(err, l.Stop())
		}
	}
	return l, nil
}

func (l *Lab) makeRepository(ctx context.Context) error {
	var err error
	if l.repository, err = l.Git.CreateRepository(ctx, "fleet"); err != nil {
		return err
	}
	files, err := workload.Files(l.Options.Apps)
	if err != nil {
		return err
	}
	l.head, err = l.repository.Commit(ctx, gittest.Commit{Branch: workload.Branch, Files: files})
	return err
}

// RepositoryURL is where Sluice fetches from.
func (l *Lab) RepositoryURL() string { return l.Git.URL("fleet") }

func (l *Lab) startSluice(ctx context.Context) error {
	dir, err := l.Folder("sluice")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sluice, err := localrun.Start(ctx, localrun.Options{
		BinDir: l.BinDir(), Dir: dir, Kubeconfig: l.Plane.Kubeconfig(), Flags: l.Options.Flags, SyncInterval: l.Options.SyncInterval,
		Notifier: l.Options.Notifier,
	})
	if err != nil {
		return err
	}
	return l.Serve(sluice)
}
