package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

const latestTags = 10

// seen is a listing as an object sees it.
type seen struct {
	listing *imagecache.Listing
	latest  []string // the last tags by alphabet, the very last first
}

// note writes down what a listing is for an object.
func note(repo *imagev1.ImageRepository, known *state.Scanned, want *target, listing *imagecache.Listing) *seen {
	tags := want.exclusions.Of(listing)
	known.Generation, known.Image, known.Credential, known.Exclusions = repo.Generation, want.scope.Image, want.scope.Credential, want.patterns
	known.Listing, known.Tags, known.Total, known.Previous = listing.Digest(), len(tags), len(listing.Tags), listing.PreviousCount
	known.Vanished, known.Complete, known.Shrunk = len(listing.Vanished), listing.Complete, listing.Shrunk()
	known.Revision, known.ScannedAt = revision(tags), listing.ScannedAt
	return &seen{listing, latest(tags)}
}

// revision is a checksum of tags.
func revision(tags []imagecache.Tag) string {
	sum := sha256.New()
	for _, t := range tags {
		_, _ = io.WriteString(sum, t.Name+"\n")
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func latest(tags []imagecache.Tag) []string {
	var names []string
	for _, t := range slices.Backward(tags) {
		if len(names) == latestTags {
			break
		}
		names = append(names, t.Name)
	}
	return names
}

// succeeded saves what is known, writes the status and tells of other tags. A run that was killed half-way does here what is missing.
func (s *Scanner) succeeded(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, old, known state.Scanned, found *seen) error {
	if err := s.save(ctx, run, old, known); err != nil {
		return err
	}
	before := repo.DeepCopy()
	message := fmt.Sprintf("successful scan: found %d tags with checksum %s", known.Tags, known.Revision)
	status := &repo.Status
	status.CanonicalImageName, status.ObservedExclusionList = known.Image, known.Exclusions
	status.ObservedGeneration, status.LastHandledReconcileAt = repo.Generation, kube.RequestedAt(repo)
	status.LastScanResult = &imagev1.ScanResult{
		Revision: known.Revision, TagCount: known.Tags, ScanTime: metav1.NewTime(known.ScannedAt.Truncate(time.Second)), LatestTags: found.latest,
	}
	kube.MarkReady(&status.Conditions, repo.Generation, meta.SucceededReason, message)
	if s.mayWait(before, repo) {
		run.Log.Debug("nothing new; the status tells the time of the scan before")
	} else if err := s.write(ctx, run, before, repo); err != nil {
		return err
	}
	told := known.Listing + " " + known.Revision
	if known.Told == told && known.Failed == "" {
		return run.Keep(known)
	}
	if known.Told != told {
		if err := s.tell(ctx, run, repo, known); err != nil {
			return err
		}
	}
	if known.Failed != "" {
		if err := run.Tell(ctx, recoveredFact(repo)); err != nil {
			return err
		}
	}
	if was := apimeta.FindStatusCondition(before.Status.Conditions, meta.ReadyCondition); was == nil || was.Message != message || was.Status != metav1.ConditionTrue {
		s.Events.Normal(repo, known.Revision, meta.SucceededReason, message)
	}
	known.Told, known.Failed = told, ""
	return run.Keep(known)
}

// save makes what changed readable for others at once; that it was only looked at again may wait for the run's end.
func (s *Scanner) save(ctx context.Context, run *stage.Run, old, known state.Scanned) error {
	if old.Listing == known.Listing && old.Credential == known.Credential && old.Revision == known.Revision && old.Generation == known.Generation {
		return run.Keep(known)
	}
	return run.Save(ctx, known)
}

// timeLag is how much older than the last scan the time of a scan in a status is at most, intervals below it provided.
const timeLag = time.Hour

// mayWait says whether the status need not be written now: it has only the time of the scan to say, and more of these come at once than are
// written in a second.
func (s *Scanner) mayWait(before, after *imagev1.ImageRepository) bool {
	last := before.Status.LastScanResult
	if last == nil || after.Status.LastScanResult.ScanTime.Sub(last.ScanTime.Time) > timeLag {
		return false
	}
	same := after.Status.DeepCopy()
	same.LastScanResult.ScanTime = last.ScanTime
	return equality.Semantic.DeepEqual(&before.Status, same) && !s.ScanTimes.Allow()
}

// write writes the status if it changed, once more looking whether the object is in these hands.
func (s *Scanner) write(ctx context.Context, run *stage.Run, before, after *imagev1.ImageRepository) error {
	if err := run.Guard(); err != nil {
		return err
	}
	_, err := s.Cluster.PatchStatus(ctx, before, after)
	return err
}

// tell publishes the fact of other tags, and warns where so many are gone that something may be wrong.
func (s *Scanner) tell(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, known state.Scanned) error {
	if err := run.Tell(ctx, &factsv1.Fact{
		Id:     fmt.Sprintf("%s/image-scanned/%s/%s/%d", repo.UID, known.Listing, known.Revision, known.ScannedAt.UnixMilli()),
		Object: reference(repo),
		Kind: &factsv1.Fact_ImageScanned{ImageScanned: &factsv1.ImageScanned{
			Image: known.Image, ListingDigest: known.Listing, TagCount: int32(known.Tags), PreviousCount: int32(known.Previous),
			VanishedCount: int32(known.Vanished), Complete: known.Complete, Shrunk: known.Shrunk,
		}},
	}); err != nil {
		return err
	}
	if known.Shrunk {
		s.Events.Warning(repo, known.Revision, "TagsVanished", fmt.Sprintf("%d tags are there, and %d of the last week's are gone", known.Total, known.Vanished))
	}
	if !known.Complete {
		s.Events.Warning(repo, known.Revision, "TooManyTags", fmt.Sprintf("the image has more tags than are taken; only %d are known", known.Total))
	}
	return nil
}

// failed writes the failure into the status, tells people when it is another than before, and says how to go on.
func (s *Scanner) failed(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, known state.Scanned, failure error) (stage.Result, error) {
	if errors.Is(failure, stage.ErrLockLost) || errors.Is(context.Cause(ctx), stage.ErrLockLost) || errors.Is(ctx.Err(), context.Canceled) {
		return stage.Result{}, failure
	}
	if next := comeBack(failure); next > 0 {
		return stage.Result{Next: next, Exact: true, Idle: true}, errors.Join(s.waiting(ctx, run, repo, failure), run.Keep(known))
	}
	told := classify(failure)
	before := repo.DeepCopy()
	status := &repo.Status
	status.ObservedGeneration, status.LastHandledReconcileAt = repo.Generation, kube.RequestedAt(repo)
	kube.MarkFailed(&status.Conditions, repo.Generation, told.reason, told.message, told.stalled)
	if err := s.write(ctx, run, before, repo); err != nil {
		return stage.Result{}, errors.Join(failure, err)
	}
	if known.Failed != told.reason+": "+told.message {
		run.Log.Warn("cannot scan image", "image", repo.Spec.Image, "reason", told.reason, "err", failure)
		if err := run.Tell(ctx, failedFact(repo, told)); err != nil {
			return stage.Result{}, errors.Join(failure, err)
		}
		s.Events.Warning(repo, "", told.reason, told.message)
		known.Failed = told.reason + ": " + told.message
	}
	if err := run.Keep(known); err != nil {
		return stage.Result{}, err
	}
	switch {
	case told.stalled:
		return stage.Result{}, stage.Stall(failure)
	case told.after > 0:
		return stage.Result{}, stage.After(told.after, failure)
	}
	return stage.Result{}, failure
}

func failedFact(repo *imagev1.ImageRepository, told failure) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/image-failed/%s/%d", repo.UID, told.reason, time.Now().UnixNano()), Object: reference(repo),
		Kind: &factsv1.Fact_ImageFailed{ImageFailed: &factsv1.ImageFailed{Reason: told.reason, Message: told.message}},
	}
}

func recoveredFact(repo *imagev1.ImageRepository) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/recovered/%d", repo.UID, time.Now().UnixNano()), Object: reference(repo),
		Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{Message: "scanning works again"}},
	}
}

// comeBack is when to come back from what is no failure: the budget is used up, or somebody else scans.
func comeBack(failure error) time.Duration {
	var deferred *registry.Deferred
	switch {
	case errors.Is(failure, imagecache.ErrUnavailable):
		return 0
	case errors.As(failure, &deferred):
		return deferred.Wait
	case errors.Is(failure, errBusy):
		return 2 * time.Second
	}
	return 0
}

// waiting says in the status of an object that was never scanned what it waits for.
func (s *Scanner) waiting(ctx context.Context, run *stage.Run, repo *imagev1.ImageRepository, why error) error {
	if len(repo.Status.Conditions) > 0 {
		return nil
	}
	before := repo.DeepCopy()
	message := "waiting: " + errBusy.Error()
	if !errors.Is(why, errBusy) {
		message = "waiting: the budget of requests to the registry is used up"
	}
	kube.MarkProgressing(&repo.Status.Conditions, repo.Generation, message)
	return s.write(ctx, run, before, repo)
}

// failure is an error as conditions tell it.
type failure struct {
	reason, message string
	stalled         bool
	after           time.Duration
}

// classify finds Flux's words for an error.
func classify(err error) failure {
	var spec *specError
	var access *imageaccess.Error
	var answer *registry.Error
	switch {
	case errors.As(err, &spec):
		return failure{reason: spec.reason, message: err.Error(), stalled: true}
	case errors.As(err, &access):
		return failure{reason: access.Reason, message: err.Error(), stalled: access.Stalled}
	case errors.Is(err, imagecache.ErrUnavailable):
		// The same words each time: the status of every object would be written anew otherwise.
		return failure{reason: imagev1.ReadOperationFailedReason, message: "scan failed: the image cache is unavailable; it is tried again, and what was known stays", after: 10 * time.Second}
	case errors.Is(err, registry.ErrUnauthorized):
		return failure{reason: imagev1.AuthenticationFailedReason, message: "scan failed: " + oneLine(err)}
	case errors.As(err, &answer) && answer.RetryAfter > 0:
		return failure{reason: imagev1.ReadOperationFailedReason, message: "scan failed: " + oneLine(err), after: answer.RetryAfter}
	}
	return failure{reason: imagev1.ReadOperationFailedReason, message: "scan failed: " + oneLine(err)}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Report writes into the status what a run could not say itself.
func (s *Scanner) Report(ctx context.Context, run *stage.Run, failure error) {
	repo := &imagev1.ImageRepository{}
	if err := s.Cluster.Client.Get(ctx, run.Key, repo); err != nil {
		return
	}
	before := repo.DeepCopy()
	kube.MarkFailed(&repo.Status.Conditions, repo.Generation, meta.FailedReason, "internal error: "+failure.Error(), false)
	if err := s.write(ctx, run, before, repo); err == nil {
		s.Events.Warning(repo, "", meta.FailedReason, "internal error: "+failure.Error())
	}
}

func reference(repo *imagev1.ImageRepository) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{
		ApiVersion: imagev1.GroupVersion.String(), Kind: imagev1.ImageRepositoryKind,
		Namespace: repo.Namespace, Name: repo.Name, Uid: string(repo.UID), Generation: repo.Generation,
	}
}
