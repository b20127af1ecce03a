// Package handler turns one ImageRepository into a listing of tags, a status and a fact.
package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// Backoff of failing scans: a mended password shows within five minutes, and a registry that is away is not hammered.
var Backoff = stage.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute}

// Scanner is the handler of stage scan.
type Scanner struct {
	Cluster    *kube.Cluster
	Bus        *bus.Conn
	Events     *kube.Events
	Cache      *imagecache.Cache
	Registries *registry.Client
	Access     *imageaccess.Resolver
	Settings   *Settings
	ScanTimes  *rate.Limiter // of statuses that have but the time of a scan to say
}

// Handled reads from an ImageRepository's status what it answers.
func Handled(obj client.Object) (int64, string) {
	repo, ok := obj.(*imagev1.ImageRepository)
	if !ok {
		return 0, ""
	}
	return repo.Status.ObservedGeneration, repo.Status.LastHandledReconcileAt
}

// Run brings one ImageRepository forward.
func (s *Scanner) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	repo := &imagev1.ImageRepository{}
	err := s.Cluster.Read(ctx, run.Key, repo, run.Hint.Generation)
	switch {
	case apierrors.IsNotFound(err):
		return stage.Result{Gone: true}, nil
	case err != nil:
		// An API server that is away is no fault of the image: the patience does not grow.
		return stage.Result{}, stage.After(5*time.Second, fmt.Errorf("read image repository: %w", err))
	case repo.DeletionTimestamp != nil:
		return s.release(ctx, run, repo)
	case repo.Spec.Suspend:
		return stage.Result{}, nil
	}
	known, err := loadKnown(run, repo)
	if err != nil {
		return stage.Result{}, err
	}
	before := known
	found, err := s.look(ctx, run, repo, &known)
	if err == nil {
		err = s.succeeded(ctx, run, repo, before, known, found)
	}
	if kube.IsConflict(err) { // what was read is older than what is there
		return stage.Result{}, stage.After(250*time.Millisecond, err)
	}
	if err != nil {
		return s.failed(ctx, run, repo, known, err)
	}
	if found.listing.StartedAt.Before(known.RequestedSince) { // it was begun before, and only gone on with
		return stage.Result{Next: least, Exact: true}, nil
	}
	return stage.Result{Next: untilDue(repo, found.listing)}, nil
}

// release lets a deleted object go that has a finalizer from Flux.
func (s *Scanner) release(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository) (stage.Result, error) {
	if err := run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := s.Cluster.RemoveFinalizer(ctx, repo); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}

// loadKnown returns what was last known of the object, and notes when a request for a scan was first seen.
func loadKnown(run *stage.Run, repo *imagev1.ImageRepository) (state.Scanned, error) {
	var known state.Scanned
	if _, err := run.Load(&known); err != nil {
		return known, err
	}
	if known.UID != repo.UID {
		known = state.Scanned{UID: repo.UID}
	}
	if requested := kube.RequestedAt(repo); requested != known.Requested {
		known.Requested = requested
		if requested != repo.Status.LastHandledReconcileAt {
			known.RequestedSince = time.Now().UTC().Truncate(time.Millisecond)
		}
	}
	return known, nil
}

// target is what an ImageRepository asks for, read and checked.
type target struct {
	image      registry.Image
	access     registry.Access
	scope      imagecache.Scope
	patterns   []string // of tags that are left out
	exclusions imagecache.Exclusions
}

func (s *Scanner) target(ctx context.Context, repo *imagev1.ImageRepository) (*target, error) {
	image, err := registry.ParseImage(repo.Spec.Image)
	switch {
	case err != nil:
		return nil, &specError{imagev1.ImageURLInvalidReason, err}
	case !s.Settings.scans(image):
		return nil, &specError{reasonExcluded, fmt.Errorf("the settings of registry-scanner leave out %s", image)}
	case repo.Spec.Insecure && !s.Settings.allowsInsecure(image):
		return nil, &specError{meta.InsecureConnectionsDisallowedReason, fmt.Errorf("the settings of registry-scanner do not let %s be asked over plain HTTP", image.Host())}
	}
	patterns := repo.GetExclusionList()
	exclusions, err := imagecache.ParseExclusions(patterns)
	if err != nil {
		return nil, &specError{imagev1.ReadOperationFailedReason, err}
	}
	access, err := s.Access.Access(ctx, repo, image)
	if err != nil {
		return nil, err
	}
	return &target{image, access, s.Cache.NewScope(image.String(), access.ID()), patterns, exclusions}, nil
}

// specError is a fault of the object's spec: nothing changes before the spec, or the settings, do.
type specError struct {
	reason string
	error
}

func (e *specError) Unwrap() error { return e.error }

// reasonExcluded is ours: Flux has no such setting.
const reasonExcluded = "ImageExcluded"

// least is the shortest interval between scans of one image.
const least = time.Second

func intervalOf(repo *imagev1.ImageRepository) time.Duration {
	return max(repo.Spec.Interval.Duration, least)
}

func untilDue(repo *imagev1.ImageRepository, listing *imagecache.Listing) time.Duration {
	return max(intervalOf(repo)-time.Since(listing.ScannedAt), least)
}

// isDue says whether a listing does not do any more: it is as old as the interval, but for the share by which that varies, or began before a scan was asked for.
func isDue(repo *imagev1.ImageRepository, known *state.Scanned, listing *imagecache.Listing) bool {
	return listing == nil || listing.StartedAt.Before(known.RequestedSince) || time.Since(listing.ScannedAt) >= dueAge(repo)
}

// dueAge is the interval but for the share by which it varies.
func dueAge(repo *imagev1.ImageRepository) time.Duration { return intervalOf(repo) * 85 / 100 }

// errBusy says that somebody else scans the same image with the same credential.
var errBusy = errors.New("the image is being scanned for another object")
