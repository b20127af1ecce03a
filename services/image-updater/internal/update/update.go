// Package update is the stage that brings an ImageUpdateAutomation forward: it writes what policies chose into a repository.
//
// A run reads the choices of the policies, and the files of the branch as they are at that moment, edits the values that differ, and pushes one
// commit, which can only move the branch forward. Whatever comes between, a rival's push, the end of the process or the loss of the lock,
// the next run begins with the files as they are then: what is written already is no change any more.
package update

import (
	"context"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/access"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// Config is what the stage stands on.
type Config struct {
	Env        *service.Env
	Events     *kube.Events
	Cache      *imagecache.Cache
	Registries *registry.Client
	Access     *imageaccess.Resolver
	Images     imageaccess.Rules // for what annotated workloads run
	Mirrors    *git.Mirrors
	Git        *access.Reader

	Slots          int           // repositories updated at once
	Quiet, MaxWait time.Duration // how long changes wait for others, after the last and after the first
}

// updater is the handler of stage update.
type updater struct {
	Config
	cluster *kube.Cluster
	bus     *bus.Conn
}

// backoff of failing updates: a mended password shows within five minutes.
var backoff = stage.Backoff{Base: time.Second, Max: 5 * time.Minute}

// New makes the stage, and watches what wakes it. It is called before the cache of the cluster starts.
func New(ctx context.Context, c Config) (*stage.Stage, error) {
	u := &updater{Config: c, cluster: c.Env.Cluster, bus: c.Env.Bus}
	s := stage.New(c.Env.Stages, state.StageUpdate, u, stage.Options{
		Slots: c.Slots, Objects: u.objects, Backoff: backoff,
		Facts: []string{bus.FactImageSelected, bus.FactSourceRevised}, Map: u.woken, Hints: u.hinted,
	})
	if err := u.cluster.Watch(ctx, &automationv1.ImageUpdateAutomation{}, handled, s); err != nil {
		return nil, err
	}
	return s, u.watchPolicies(ctx, s)
}
