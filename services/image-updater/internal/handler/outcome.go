package handler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
)

// ConditionHeld is the type of the condition that says why a choice is not acted on.
const ConditionHeld = "Held"

// succeeded makes the choice known: first to who may act on it, then to people, then by a fact.
func (j *job) succeeded(ctx context.Context) error {
	if err := j.save(ctx); err != nil {
		return err
	}
	before := j.policy.DeepCopy()
	j.show()
	message := j.message()
	kube.MarkReady(&j.policy.Status.Conditions, j.policy.Generation, meta.SucceededReason, message)
	if err := j.write(ctx, before); err != nil {
		return err
	}
	if err := j.tell(ctx); err != nil {
		return err
	}
	if j.known.Failed != "" {
		if err := j.run.Tell(ctx, recoveredFact(j.policy)); err != nil {
			return err
		}
		j.known.Failed = ""
	}
	if was := apimeta.FindStatusCondition(before.Status.Conditions, meta.ReadyCondition); was == nil || was.Message != message || was.Status != metav1.ConditionTrue {
		j.Events.Normal(j.policy, "", meta.SucceededReason, message)
	}
	if was := apimeta.FindStatusCondition(before.Status.Conditions, ConditionHeld); j.known.Held != "" && (was == nil || was.Message != j.known.Held) {
		j.Events.Warning(j.policy, "", j.known.HeldReason, j.known.Held)
	}
	return j.run.Keep(j.known)
}

// save makes what changed readable for others at once; the rest may wait for the run's end.
func (j *job) save(ctx context.Context) error {
	was, is := j.before, j.known
	if was.Ref() == is.Ref() && was.Held == is.Held && was.Listing == is.Listing && was.Generation == is.Generation && was.Rules == is.Rules && was.UID == is.UID {
		return j.run.Keep(is)
	}
	return j.run.Save(ctx, is)
}

// show writes the choice into the status.
func (j *job) show() {
	status := &j.policy.Status
	latest := &imagev1.ImageRef{Name: j.known.Name, Tag: j.known.Tag, Digest: j.known.Digest}
	if status.LatestRef == nil || *status.LatestRef != *latest {
		status.ObservedPreviousRef, status.LatestRef = status.LatestRef, latest
	}
	status.ObservedGeneration, status.LastHandledReconcileAt = j.policy.Generation, kube.RequestedAt(j.policy)
	if j.known.Held == "" {
		apimeta.RemoveStatusCondition(&status.Conditions, ConditionHeld)
		return
	}
	kube.SetCondition(&status.Conditions, ConditionHeld, metav1.ConditionTrue, j.policy.Generation, j.known.HeldReason, j.known.Held)
}

// message is Flux's, which tools read.
func (j *job) message() string {
	latest, before := j.policy.Status.LatestRef, j.policy.Status.ObservedPreviousRef
	var b strings.Builder
	fmt.Fprintf(&b, "Latest image tag for %s resolved to %s", latest.Name, latest.Tag)
	if latest.Digest != "" {
		fmt.Fprintf(&b, " with digest %s", latest.Digest)
	}
	if before != nil && *before != *latest {
		fmt.Fprintf(&b, " (previously %s)", before)
	}
	return b.String()
}

// write writes the status if it changed, once more looking whether the object is in these hands.
func (j *job) write(ctx context.Context, before *imagev1.ImagePolicy) error {
	if err := j.run.Guard(); err != nil {
		return err
	}
	_, err := j.Env.Cluster.PatchStatus(ctx, before, j.policy)
	return err
}

// tell publishes the fact of another choice, or of another reason to hold it.
func (j *job) tell(ctx context.Context) error {
	told := strings.TrimSpace(j.known.Ref() + " " + j.known.HeldReason)
	if told == j.known.Told {
		return nil
	}
	err := j.run.Tell(ctx, &factsv1.Fact{
		Id:     fmt.Sprintf("%s/image-selected/%s/%d/%s", j.policy.UID, j.known.Ref(), j.known.At.UnixMilli(), j.known.HeldReason),
		Object: reference(j.policy),
		Kind: &factsv1.Fact_ImageSelected{ImageSelected: &factsv1.ImageSelected{
			Image: j.known.Name, Tag: j.known.Tag, Digest: j.known.Digest, Previous: j.known.Before, ListingDigest: j.known.Listing, Held: j.known.Held,
		}},
	})
	if err == nil {
		j.known.Told = told
	}
	return err
}

// failed writes the failure into the status, tells people when it is another than before, and says how to go on. What was chosen stays
// in status and record.
func (j *job) failed(ctx context.Context, failure error) (stage.Result, error) {
	if errors.Is(failure, stage.ErrLockLost) || errors.Is(context.Cause(ctx), stage.ErrLockLost) || errors.Is(ctx.Err(), context.Canceled) {
		return stage.Result{}, failure
	}
	told := classify(failure)
	j.known = j.before
	j.known.LookedUp += j.lookedUp
	if told.keeps && j.chose() {
		return j.kept(ctx, told)
	}
	before := j.policy.DeepCopy()
	status := &j.policy.Status
	status.ObservedGeneration, status.LastHandledReconcileAt = j.policy.Generation, kube.RequestedAt(j.policy)
	message := oneLine(told)
	kube.MarkFailed(&status.Conditions, j.policy.Generation, told.reason, message, told.stalled)
	if err := j.write(ctx, before); err != nil {
		return stage.Result{}, errors.Join(failure, err)
	}
	if line := told.reason + ": " + message; j.known.Failed != line {
		if told.keeps { // to wait is no news
			j.run.Log.Info("choice of image waits", "reason", told.reason, "why", message)
		} else {
			j.run.Log.Warn("cannot choose an image", "reason", told.reason, "err", failure)
			if err := j.run.Tell(ctx, failedFact(j.policy, told.reason, message)); err != nil {
				return stage.Result{}, errors.Join(failure, err)
			}
			j.Events.Warning(j.policy, "", told.reason, message)
		}
		j.known.Failed = line
	}
	if err := j.run.Keep(j.known); err != nil {
		return stage.Result{}, err
	}
	switch {
	case told.more:
		return stage.Result{More: true}, nil
	case told.stalled:
		return stage.Result{}, stage.Stall(failure)
	case told.after > 0:
		return stage.Result{}, stage.After(told.after, failure)
	}
	return stage.Result{}, failure
}

func failedFact(p *imagev1.ImagePolicy, reason, message string) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/image-failed/%s/%d", p.UID, reason, time.Now().UnixNano()), Object: reference(p),
		Kind: &factsv1.Fact_ImageFailed{ImageFailed: &factsv1.ImageFailed{Reason: reason, Message: message}},
	}
}

func recoveredFact(p *imagev1.ImagePolicy) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/recovered/%d", p.UID, time.Now().UnixNano()), Object: reference(p),
		Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{Message: "an image can be chosen again"}},
	}
}

// kept leaves everything as it is: what is missing now says nothing about the choice.
func (j *job) kept(ctx context.Context, told *problem) (stage.Result, error) {
	if line := told.reason + ": " + oneLine(told); j.known.Failed != line {
		j.run.Log.Info("choice of image stays", "image", j.known.Ref(), "why", told.error)
		j.known.Failed = line
	}
	before := j.policy.DeepCopy()
	j.show()
	kube.MarkReady(&j.policy.Status.Conditions, j.policy.Generation, meta.SucceededReason, j.message())
	if err := j.write(ctx, before); err != nil {
		return stage.Result{}, err
	}
	if told.more {
		return stage.Result{More: true}, j.save(ctx)
	}
	return stage.Result{Next: told.after, Idle: true}, j.save(ctx)
}

// Report writes into the status what a run could not say itself.
func (p *Policies) Report(ctx context.Context, run *stage.Run, failure error) {
	j := &job{Policies: p, run: run, policy: &imagev1.ImagePolicy{}}
	if err := p.Env.Cluster.Client.Get(ctx, run.Key, j.policy); err != nil {
		return
	}
	before := j.policy.DeepCopy()
	kube.MarkFailed(&j.policy.Status.Conditions, j.policy.Generation, meta.FailedReason, "internal error: "+failure.Error(), false)
	if err := j.write(ctx, before); err == nil {
		p.Events.Warning(j.policy, "", meta.FailedReason, "internal error: "+failure.Error())
	}
}

func reference(p *imagev1.ImagePolicy) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{
		ApiVersion: imagev1.GroupVersion.String(), Kind: imagev1.ImagePolicyKind,
		Namespace: p.Namespace, Name: p.Name, Uid: string(p.UID), Generation: p.Generation,
	}
}
