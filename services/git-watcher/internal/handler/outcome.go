package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// succeeded writes the status and tells of a new artifact. A run that was killed half-way does here what is missing.
func (w *Watcher) succeeded(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known state.Source, found *news) error {
	before := repo.DeepCopy()
	message := fmt.Sprintf("stored artifact for revision '%s'", known.Artifact.Revision)
	s := &repo.Status
	s.Artifact = known.Artifact
	s.ObservedGeneration = repo.Generation
	s.LastHandledReconcileAt = kube.RequestedAt(repo)
	s.ObservedIgnore, s.ObservedSparseCheckout = repo.Spec.Ignore, repo.Spec.SparseCheckout
	s.ObservedRecurseSubmodules, s.ObservedInclude, s.IncludedArtifacts = repo.Spec.RecurseSubmodules, repo.Spec.Include, known.Included
	clearFailures(&s.Conditions)
	markVerified(repo, known.Verified)
	apimeta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: sourcev1.ArtifactInStorageCondition, Status: metav1.ConditionTrue, ObservedGeneration: repo.Generation,
		Reason: meta.SucceededReason, Message: message,
	})
	kube.MarkReady(&s.Conditions, repo.Generation, meta.SucceededReason, message)
	if err := w.write(ctx, run, before, repo); err != nil {
		return err
	}
	told := known.Artifact.Revision + " " + known.Artifact.Digest
	if known.Told == told && known.Failed == "" {
		return nil
	}
	if known.Told != told {
		if err := w.tell(ctx, run, repo, before, known.Artifact, found); err != nil {
			return err
		}
	} else {
		if err := w.tellRecovery(ctx, run, repo, known); err != nil {
			return err
		}
		w.Events.Normal(repo, known.Artifact.Revision, sourcev1.GitOperationSucceedReason, "fetching works again: "+message)
	}
	known.Told, known.Failed = told, ""
	return run.Keep(known)
}

// tellRecovery publishes that a failure is over that brought no new artifact.
func (w *Watcher) tellRecovery(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known state.Source) error {
	return run.Tell(ctx, &factsv1.Fact{
		Id:     fmt.Sprintf("%s/recovered/%s/%d", repo.UID, known.Artifact.Digest, time.Now().UnixNano()),
		Object: reference(repo), Revision: known.Artifact.Revision,
		Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{Message: "fetching works again"}},
	})
}

// markVerified says by which keys the artifact's revision is vouched for; nothing where that is not asked for.
func markVerified(repo *sourcev1.GitRepository, message string) {
	s := &repo.Status
	if repo.Spec.Verification == nil || message == "" {
		s.SourceVerificationMode = nil
		apimeta.RemoveStatusCondition(&s.Conditions, sourcev1.SourceVerifiedCondition)
		return
	}
	mode := repo.Spec.Verification.GetMode()
	s.SourceVerificationMode = &mode
	apimeta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionTrue, ObservedGeneration: repo.Generation,
		Reason: meta.SucceededReason, Message: message,
	})
}

// write writes the status if it changed, once more looking whether the object is in these hands.
func (w *Watcher) write(ctx context.Context, run *stage.Run, before, after *sourcev1.GitRepository) error {
	if err := run.Guard(); err != nil {
		return err
	}
	_, err := w.Cluster.PatchStatus(ctx, before, after)
	return err
}

// tell publishes the fact and the Event of a new artifact.
func (w *Watcher) tell(ctx context.Context, run *stage.Run, repo, before *sourcev1.GitRepository, artifact *meta.Artifact, found *news) error {
	fact := &factsv1.SourceRevised{
		Revision: artifact.Revision, ArtifactDigest: artifact.Digest, Url: repo.Spec.URL,
		ChangedPaths: found.changed, ChangedPathsComplete: found.complete,
	}
	if artifact.Size != nil {
		fact.SizeBytes = *artifact.Size
	}
	if before.Status.Artifact != nil {
		fact.PreviousRevision = before.Status.Artifact.Revision
	}
	event := fmt.Sprintf("stored artifact for revision '%s'", artifact.Revision)
	if c := found.commit; c != nil {
		fact.Commit = &factsv1.Commit{Author: fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email), Subject: c.Subject, Time: timestamppb.New(c.Committer.When)}
		fact.DetectedTime = timestamppb.New(found.seen)
		event = fmt.Sprintf("stored artifact for commit '%s'", c.Subject)
	}
	if err := run.Tell(ctx, &factsv1.Fact{
		Id:     fmt.Sprintf("%s/source-revised/%s/%d", repo.UID, artifact.Digest, artifact.LastUpdateTime.Unix()),
		Object: reference(repo), Revision: artifact.Revision, Kind: &factsv1.Fact_SourceRevised{SourceRevised: fact},
	}); err != nil {
		return err
	}
	w.Events.Normal(repo, artifact.Revision, "NewArtifact", event)
	return nil
}

// failed writes the failure into the status, tells of it when it is another than before, and says how to go on.
func (w *Watcher) failed(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known state.Source, failure error) (stage.Result, error) {
	if errors.Is(failure, stage.ErrLockLost) || errors.Is(context.Cause(ctx), stage.ErrLockLost) || errors.Is(ctx.Err(), context.Canceled) {
		return stage.Result{}, failure
	}
	if isPassing(failure, run.Failures) {
		run.Log.Info("cannot store what was fetched, trying again", "err", failure)
		return stage.Result{}, stage.After(storageRetry, failure)
	}
	told := classify(failure)
	why, stalled := told.reason, told.stalled
	before := repo.DeepCopy()
	s := &repo.Status
	s.ObservedGeneration = repo.Generation
	s.LastHandledReconcileAt = kube.RequestedAt(repo)
	told.mark(&s.Conditions, repo.Generation, failure.Error())
	kube.MarkFailed(&s.Conditions, repo.Generation, why, failure.Error(), stalled)
	if err := w.write(ctx, run, before, repo); err != nil {
		return stage.Result{}, errors.Join(failure, err)
	}
	if err := w.tellFailure(ctx, run, repo, known, why, failure.Error()); err != nil {
		return stage.Result{}, errors.Join(failure, err)
	}
	if stalled {
		return stage.Result{}, stage.Stall(failure)
	}
	return stage.Result{}, failure
}

func (w *Watcher) tellFailure(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known state.Source, why, message string) error {
	if known.Failed == why+": "+message {
		return nil
	}
	run.Log.Warn("cannot follow repository", "reason", why, "err", message)
	revision := ""
	if known.Artifact != nil {
		revision = known.Artifact.Revision
	}
	if err := run.Tell(ctx, &factsv1.Fact{
		Id:     fmt.Sprintf("%s/source-failed/%s/%d", repo.UID, why, repo.Generation),
		Object: reference(repo), Revision: revision,
		Kind: &factsv1.Fact_SourceFailed{SourceFailed: &factsv1.SourceFailed{Reason: why, Message: message}},
	}); err != nil {
		return err
	}
	w.Events.Warning(repo, revision, why, message)
	known.Failed = why + ": " + message
	return run.Keep(known)
}

// Report writes into the status what a run could not say itself.
func (w *Watcher) Report(ctx context.Context, run *stage.Run, failure error) {
	repo := &sourcev1.GitRepository{}
	if err := w.Cluster.Client.Get(ctx, run.Key, repo); err != nil {
		return
	}
	before := repo.DeepCopy()
	kube.MarkFailed(&repo.Status.Conditions, repo.Generation, meta.FailedReason, "internal error: "+failure.Error(), false)
	if err := w.write(ctx, run, before, repo); err == nil {
		w.Events.Warning(repo, "", meta.FailedReason, "internal error: "+failure.Error())
	}
}

func reference(repo *sourcev1.GitRepository) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{
		ApiVersion: sourcev1.GroupVersion.String(), Kind: sourcev1.GitRepositoryKind,
		Namespace: repo.Namespace, Name: repo.Name, Uid: string(repo.UID), Generation: repo.Generation,
	}
}
