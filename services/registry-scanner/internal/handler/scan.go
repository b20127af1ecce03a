package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// keepEvery is after how many pages a listing that goes on is kept, so that it can be gone on with.
const keepEvery = 5

// maxPages bounds a listing whose pages never end.
const maxPages = 10_000

// look returns the listing that the object is to have: the one in the cache where that is fresh enough, otherwise a new one. It notes
// in known what the listing is.
func (s *Scanner) look(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, known *state.Scanned) (*seen, error) {
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	want, err := s.target(ctx, repo)
	if err != nil {
		return nil, err
	}
	var listing *imagecache.Listing
	if !expectsScan(repo, known, want) {
		var pushed time.Time
		if listing, pushed, err = s.Cache.Latest(ctx, want.scope); err != nil {
			return nil, err
		}
		notePush(known, pushed)
	}
	if isDue(repo, known, listing) {
		if listing, err = s.scan(ctx, run, repo, known, want); err != nil {
			return nil, err
		}
	}
	return note(repo, known, want, listing), nil
}

// expectsScan says that a listing which is fresh enough would be a surprise: one that another object with the same image got meanwhile. Then
// it is looked for when the scan begins, and not before.
func expectsScan(repo *imagev1.ImageRepository, known *state.Scanned, want *target) bool {
	same := known.Image == want.scope.Image && known.Credential == want.scope.Credential
	return !same || known.RequestedSince.After(known.ScannedAt) || time.Since(known.ScannedAt) >= dueAge(repo)
}

// notePush takes note of a push that somebody spoke of as of a request for a scan.
func notePush(known *state.Scanned, at time.Time) {
	if at.After(known.RequestedSince) {
		known.RequestedSince = at
	}
}

// scan makes a new listing, unless somebody does or just did.
func (s *Scanner) scan(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, known *state.Scanned, want *target) (*imagecache.Listing, error) {
	lock, err := s.Cache.Begin(ctx, want.scope)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, errBusy
	}
	defer lock.Release(ctx)
	notePush(known, lock.PushedAt)
	before := lock.Listing
	if !isDue(repo, known, before) {
		return before, nil
	}
	tags, err := s.list(ctx, lock, want)
	if err != nil {
		return nil, err
	}
	listing := imagecache.NewListing(want.scope.Image, tags.Names, tags.Next == "", tags.StartedAt, time.Now(), s.forerunner(ctx, before, known, want))
	if err := lock.Finish(ctx, listing); err != nil {
		return nil, err
	}
	if before != nil && before.Digest() != listing.Digest() {
		s.wakeSharers(ctx, run, want)
	}
	return listing, nil
}

// forerunner is the listing that the new one follows: where there is none under this credential, the one that the object had under
// another, so that a new password makes no tag look new.
func (s *Scanner) forerunner(ctx context.Context, before *imagecache.Listing, known *state.Scanned, want *target) *imagecache.Listing {
	if before != nil || known.Image != want.scope.Image || known.Credential == want.scope.Credential {
		return before
	}
	former, err := s.Cache.ListingOf(ctx, imagecache.Scope{Image: known.Image, Credential: known.Credential}, known.Listing)
	if err != nil {
		return nil // the first-seen times begin anew
	}
	return former
}

// list reads all pages, from where an earlier run got to. What was read is kept when a later page cannot be had.
func (s *Scanner) list(ctx context.Context, lock *imagecache.Lock, want *target) (*imagecache.Partial, error) {
	tags := lock.Partial
	if tags == nil {
		tags = &imagecache.Partial{StartedAt: time.Now().UTC()}
	}
	image := s.Registries.Repository(want.image, want.access)
	for first := true; first || tags.Next != "" && len(tags.Names) < s.Settings.maxTags; first = false {
		page, err := image.Tags(ctx, tags.Next)
		if err != nil {
			return nil, s.interrupted(ctx, want, tags, err)
		}
		tags.Names, tags.Next, tags.Pages = append(tags.Names, page.Tags...), page.Next, tags.Pages+1
		if tags.Pages > maxPages {
			return nil, fmt.Errorf("list tags of %s: %w: more than %d pages", want.image, registry.ErrMalformed, maxPages)
		}
		if tags.Pages%keepEvery == 0 {
			if err := s.Cache.PutPartial(ctx, want.scope, tags); err != nil {
				return nil, err
			}
		}
	}
	if len(tags.Names) > s.Settings.maxTags {
		tags.Names, tags.Next = tags.Names[:s.Settings.maxTags], "more"
	}
	return tags, nil
}

// interrupted keeps what was read, where going on may help, and forgets it where it may not.
func (s *Scanner) interrupted(ctx context.Context, want *target, tags *imagecache.Partial, failure error) error {
	if tags.Pages == 0 {
		return failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var deferred *registry.Deferred
	if errors.As(failure, &deferred) || errors.Is(failure, registry.ErrTooManyRequests) || errors.Is(failure, registry.ErrUnavailable) {
		return errors.Join(failure, s.Cache.PutPartial(ctx, want.scope, tags))
	}
	return errors.Join(failure, s.Cache.DropPartial(ctx, want.scope))
}

const imageIndex = "image"

// IndexImages lets a scan find the ImageRepositories that share its listing. It must be called before the cache starts.
func IndexImages(ctx context.Context, c *kube.Cluster) error {
	err := c.Cache.IndexField(ctx, &imagev1.ImageRepository{}, imageIndex, func(o client.Object) []string {
		if repo, ok := o.(*imagev1.ImageRepository); ok {
			if image, err := registry.ParseImage(repo.Spec.Image); err == nil {
				return []string{image.String()}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index images: %w", err)
	}
	return nil
}

// wakeSharers wakes the other objects with the same image: their records name the listing that was replaced. Those that cannot be woken
// find out at their interval.
func (s *Scanner) wakeSharers(ctx context.Context, run *stage.Run, want *target) {
	var list imagev1.ImageRepositoryList
	if err := s.Cluster.Cache.List(ctx, &list, client.MatchingFields{imageIndex: want.image.String()}); err != nil {
		run.Log.Warn("cannot find who shares a listing", "image", want.image.String(), "err", err)
		return
	}
	for i := range list.Items {
		key := client.ObjectKeyFromObject(&list.Items[i])
		if key == run.Key {
			continue
		}
		if err := stage.Wake(ctx, s.Bus, state.StageScan, key, stage.Hint{Cause: "shared scan"}); err != nil {
			run.Log.Warn("cannot wake who shares a listing", "image", want.image.String(), "err", err)
			return
		}
	}
}
