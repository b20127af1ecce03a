package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// heldCondition is the condition that says what is left as it is though a policy chose another image.
const heldCondition = "Held"

// reasonTooLarge is that of an Event about files that were not looked at.
const reasonTooLarge = "FileTooLarge"

// maxTold is how many problems or holds a message names.
const maxTold = 10

// succeeded writes the status, tells of a commit and of what is held. A run that was ended half-way does here what is missing.
func (u *updater) succeeded(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record, all *choices, result *outcome) error {
	known.conclude(all, result)
	before := auto.DeepCopy()
	status := &auto.Status
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	status.LastAutomationRunTime, status.ObservedSourceRevision = &now, result.revision
	status.ObservedPolicies = all.observed(status.ObservedPolicies)
	status.ObservedGeneration, status.LastHandledReconcileAt = auto.Generation, kube.RequestedAt(auto)
	if result.recalled {
		status.LastPushCommit, status.LastPushTime = known.Pushed.Commit, &now
	}
	markHeld(auto, result.held)
	problem := markReady(auto, result)
	if err := u.writeStatus(ctx, run, before, auto); err != nil {
		return err
	}
	if err := u.keepHolds(ctx, run, auto, known); err != nil {
		return err
	}
	if err := u.tell(ctx, run, auto, known, result); err != nil {
		return err
	}
	if result.rest != nil {
		return nil // which is told as a failure
	}
	if err := u.tellProblem(ctx, run, auto, known, result.revision, problem); err != nil {
		return err
	}
	known.Failed = problem
	return run.Keep(known)
}

// tellProblem tells of what is wrong in spite of the run's success, when it is another than before, or that a failure is over.
func (u *updater) tellProblem(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record, revision, problem string) error {
	switch {
	case problem == known.Failed:
		return nil
	case problem == "":
		return run.Tell(ctx, recoveredFact(auto))
	}
	ready := apimeta.FindStatusCondition(auto.Status.Conditions, meta.ReadyCondition)
	if err := run.Tell(ctx, failedFact(auto, ready.Reason, problem)); err != nil {
		return err
	}
	u.Events.Warning(auto, revision, ready.Reason, problem)
	return nil
}

// conclude notes what a finished run was about.
func (r *record) conclude(all *choices, result *outcome) {
	isHeld := map[string]bool{}
	for _, h := range result.held {
		isHeld[h.Policy] = true
	}
	for name, one := range all.taken {
		if one.ref.Name != "" && !isHeld[name] {
			r.Written[name] = written{one.ref.String(), one.rule}
			if !one.below(r.Holds[name]) {
				delete(r.Holds, name)
			}
		}
	}
	for name := range r.Holds {
		if !all.known[name] && !isHeld[name] {
			delete(r.Holds, name)
		}
	}
	r.Done, r.Waiting, r.Lost = all.digest(), waiting{}, false
}

// markReady says in conditions what came of the run, and returns the message where not all of it is well.
func markReady(auto *automationv1.ImageUpdateAutomation, result *outcome) string {
	if result.rest != nil {
		reason, _ := classify(result.rest)
		kube.MarkFailed(&auto.Status.Conditions, auto.Generation, reason, result.rest.Error(), false)
		return result.rest.Error()
	}
	if len(result.problems) == 0 {
		message := "repository up-to-date"
		if n := len(result.held); n > 0 {
			message += fmt.Sprintf(", %d held (see condition %s)", n, heldCondition)
		}
		if text := skipped(result); text != "" {
			message += "\n" + text
		}
		kube.MarkReady(&auto.Status.Conditions, auto.Generation, meta.SucceededReason, message)
		return ""
	}
	lines := make([]string, 0, maxTold)
	for _, p := range result.problems {
		lines = append(lines, p.Error())
	}
	message := listed(lines)
	kube.MarkFailed(&auto.Status.Conditions, auto.Generation, string(result.problems[0].Reason), message, false)
	return message
}

// skipped says what was not looked at; empty for nothing.
func skipped(result *outcome) string {
	if len(result.skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("not looked at, as larger than %d MiB:\n%s", maxRead>>20, listed(result.skipped))
}

func listed(lines []string) string {
	if more := len(lines) - maxTold; more > 0 {
		lines = append(slices.Clone(lines[:maxTold]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// markHeld says in a condition of its own what is held.
func markHeld(auto *automationv1.ImageUpdateAutomation, list []held) {
	if len(list) == 0 {
		apimeta.RemoveStatusCondition(&auto.Status.Conditions, heldCondition)
		return
	}
	kube.SetCondition(&auto.Status.Conditions, heldCondition, metav1.ConditionTrue, auto.Generation, list[0].Reason, heldMessage(list))
}

func heldMessage(list []held) string {
	lines := make([]string, len(list))
	for i, h := range list {
		lines[i] = h.String()
	}
	return listed(lines)
}

// String is the hold in one line.
func (h held) String() string {
	if strings.Contains(h.Policy, "/") { // a container of a workload, without policy
		return fmt.Sprintf("%s (%s): %s", h.Policy, h.Present, h.Message)
	}
	return fmt.Sprintf("policy %s at %s (%s): %s", h.Policy, h.Place, h.Present, h.Message)
}

// writeStatus writes the status if it changed, once more looking whether the object is in these hands.
func (u *updater) writeStatus(ctx context.Context, run *stage.Run, before, after *automationv1.ImageUpdateAutomation) error {
	if err := run.Guard(); err != nil {
		return err
	}
	_, err := u.cluster.PatchStatus(ctx, before, after)
	return err
}

// keepHolds writes what somebody has set back where it outlasts the bus.
func (u *updater) keepHolds(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record) error {
	text := ""
	if len(known.Holds) > 0 {
		data, err := json.Marshal(known.Holds)
		if err != nil {
			return fmt.Errorf("note holds: %w", err)
		}
		text = string(data)
	}
	if auto.Annotations[holdsAnnotation] == text {
		return nil
	}
	if err := run.Guard(); err != nil {
		return err
	}
	before := auto.DeepCopy()
	if text == "" {
		delete(auto.Annotations, holdsAnnotation)
	} else {
		metav1.SetMetaDataAnnotation(&auto.ObjectMeta, holdsAnnotation, text)
	}
	if err := u.cluster.Client.Patch(ctx, auto, client.MergeFrom(before), client.FieldOwner(kube.FieldManager)); err != nil {
		return fmt.Errorf("note holds: %w", err)
	}
	return nil
}

// tell publishes a commit that was pushed, once, and what is held, when it is another than before.
func (u *updater) tell(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record, result *outcome) error {
	if result.recalled {
		if err := u.tellPushed(ctx, run, auto, known.Pushed, ""); err != nil {
			return err
		}
	}
	if text := skipped(result); text != known.Skipped {
		if known.Skipped = text; text != "" {
			u.Events.Warning(auto, result.revision, reasonTooLarge, text)
		}
	}
	told := heldMessage(result.held)
	if told == known.HeldTold {
		return nil
	}
	for _, h := range result.held[:min(len(result.held), maxTold)] {
		if strings.Contains(known.HeldTold, h.String()) {
			continue
		}
		if err := run.Tell(ctx, heldFact(auto, h)); err != nil {
			return err
		}
	}
	if told != "" {
		u.Events.Warning(auto, result.revision, result.held[0].Reason, told)
	}
	known.HeldTold = told
	return nil
}

// tellPushed tells of a commit, once.
func (u *updater) tellPushed(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, p *pushed, request string) error {
	if p.Concluded {
		return nil
	}
	if err := run.Tell(ctx, updated(auto, p, request)); err != nil {
		return err
	}
	text := fmt.Sprintf("pushed commit '%.7s' to branch '%s'\n%s", p.Commit, p.Branch, p.Message)
	if request != "" {
		text = fmt.Sprintf("pushed commit '%.7s' to branch '%s', pull request %s\n%s", p.Commit, p.Branch, request, p.Message)
	}
	u.Events.Normal(auto, p.Branch+"@sha1:"+p.Commit, meta.SucceededReason, text)
	p.Concluded, p.Message, p.Changes = true, "", nil
	return nil
}

func updated(auto *automationv1.ImageUpdateAutomation, p *pushed, request string) *factsv1.Fact {
	f := &factsv1.ImageUpdated{PullRequestUrl: request, Url: p.URL, Branch: p.Branch, Commit: p.Commit, ChangeCount: int32(p.Count)}
	for _, c := range p.Changes {
		f.Changes = append(f.Changes, &factsv1.ImageChange{Policy: policyReference(auto, c.Policy), Path: c.Path, OldValue: c.Old, NewValue: c.New})
	}
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/image-updated/%s", auto.UID, p.Commit), Object: reference(auto), Revision: p.Branch + "@sha1:" + p.Commit,
		Kind: &factsv1.Fact_ImageUpdated{ImageUpdated: f},
	}
}

func heldFact(auto *automationv1.ImageUpdateAutomation, h held) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/update-held/%s/%s/%s/%s", auto.UID, h.Policy, h.Place, h.Reason, h.Wanted), Object: reference(auto),
		Kind: &factsv1.Fact_UpdateHeld{UpdateHeld: &factsv1.UpdateHeld{
			Policy: policyReference(auto, h.Policy), Present: h.Present, Wanted: h.Wanted, Reason: h.Reason, Message: h.Message,
		}},
	}
}

func failedFact(auto *automationv1.ImageUpdateAutomation, reason, message string) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/image-failed/%s/%d", auto.UID, reason, time.Now().UnixNano()), Object: reference(auto),
		Kind: &factsv1.Fact_ImageFailed{ImageFailed: &factsv1.ImageFailed{Reason: reason, Message: message}},
	}
}

func recoveredFact(auto *automationv1.ImageUpdateAutomation) *factsv1.Fact {
	return &factsv1.Fact{
		Id: fmt.Sprintf("%s/recovered/%d", auto.UID, time.Now().UnixNano()), Object: reference(auto),
		Kind: &factsv1.Fact_Recovered{Recovered: &factsv1.Recovered{Message: "updating works again"}},
	}
}

func policyReference(auto *automationv1.ImageUpdateAutomation, name string) *factsv1.ObjectReference {
	if name == "" || strings.Contains(name, "/") {
		return nil
	}
	return &factsv1.ObjectReference{ApiVersion: imagev1.GroupVersion.String(), Kind: imagev1.ImagePolicyKind, Namespace: auto.Namespace, Name: name}
}

func reference(auto *automationv1.ImageUpdateAutomation) *factsv1.ObjectReference {
	return &factsv1.ObjectReference{
		ApiVersion: automationv1.GroupVersion.String(), Kind: automationv1.ImageUpdateAutomationKind,
		Namespace: auto.Namespace, Name: auto.Name, Uid: string(auto.UID), Generation: auto.Generation,
	}
}

// failed writes the failure into the status, tells people when it is another than before, and says how to go on.
func (u *updater) failed(ctx context.Context, run *stage.Run, auto *automationv1.ImageUpdateAutomation, known *record, failure error) (stage.Result, error) {
	if errors.Is(failure, stage.ErrLockLost) || errors.Is(context.Cause(ctx), stage.ErrLockLost) || errors.Is(ctx.Err(), context.Canceled) {
		return stage.Result{}, failure
	}
	reason, stalled := classify(failure)
	before := auto.DeepCopy()
	auto.Status.LastHandledReconcileAt = kube.RequestedAt(auto)
	if stalled {
		auto.Status.ObservedGeneration = auto.Generation
	}
	kube.MarkFailed(&auto.Status.Conditions, auto.Generation, reason, failure.Error(), stalled)
	if err := u.writeStatus(ctx, run, before, auto); err != nil {
		return stage.Result{}, errors.Join(run.Keep(known), stage.After(time.Second, err))
	}
	if told := reason + ": " + failure.Error(); told != known.Failed {
		if err := run.Tell(ctx, failedFact(auto, reason, failure.Error())); err != nil {
			return stage.Result{}, errors.Join(run.Keep(known), failure, err)
		}
		u.Events.Warning(auto, auto.Status.ObservedSourceRevision, reason, failure.Error())
		known.Failed = told
	}
	if stalled {
		failure = stage.Stall(failure)
	}
	var incomplete *incompleteError
	if errors.As(failure, &incomplete) && incomplete.final {
		return stage.Result{Next: max(auto.Spec.Interval.Duration, least)}, run.Keep(known)
	}
	var limit *pullrequest.RateLimitError
	if errors.As(failure, &limit) {
		failure = stage.After(max(time.Until(limit.Until), time.Second), failure)
	}
	return stage.Result{}, errors.Join(run.Keep(known), failure)
}

// Report tells people of a run that could not even fail by itself: it panicked, or ended with its process several times in a row.
func (u *updater) Report(ctx context.Context, run *stage.Run, failure error) {
	auto := &automationv1.ImageUpdateAutomation{}
	if err := u.cluster.Client.Get(ctx, run.Key, auto); err != nil {
		return
	}
	before := auto.DeepCopy()
	kube.MarkFailed(&auto.Status.Conditions, auto.Generation, automationv1.UpdateFailedReason, failure.Error(), false)
	if err := u.writeStatus(ctx, run, before, auto); err != nil {
		run.Log.Warn("cannot report a failure", "err", err)
		return
	}
	u.Events.Warning(auto, "", automationv1.UpdateFailedReason, failure.Error())
}
