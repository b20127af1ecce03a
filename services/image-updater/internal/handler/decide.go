package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// VanishedAckAnnotation on an ImagePolicy accepts that tags are gone which vanished up to a time, as 2006-01-02T15:04:05Z.
const VanishedAckAnnotation = "sluice.dev/vanished-ack"

// Reasons of condition Held.
const (
	// ReasonListingShrunk says that more than a third of the tags are gone: the registry may be damaged.
	ReasonListingShrunk = "ListingShrunk"
	// ReasonListingIncomplete says that the image has more tags than are taken.
	ReasonListingIncomplete = "ListingIncomplete"
	// ReasonTagVanished says that the chosen tag is gone: the others rank below it, or it is gone so lately that it may come back.
	ReasonTagVanished = "TagVanished"
)

// hold is why a choice may not be acted on.
type hold struct{ reason, message string }

// decide makes the choice: the evaluated one, or that of before where something is not as it should be.
func (j *job) decide(ctx context.Context, result policy.Result, t *tags) error {
	j.nextAt = result.NextAt
	chosen := result.Chosen
	held := j.hold(chosen, t)
	keep := held != nil && j.chose()
	if !keep && chosen.Name == "" {
		return failed(metav1.StatusFailure, noTag(result))
	}
	k := &j.known
	k.HeldReason, k.Held, k.LookedUp = "", "", 0
	if held != nil {
		k.HeldReason, k.Held = held.reason, held.message
	}
	if !keep {
		digest, err := j.reflect(ctx, chosen.Name)
		if err != nil {
			return err
		}
		k.Image, k.Name, k.Tag, k.Digest, k.Created = j.image.String(), j.repo.Spec.Image, chosen.Name, digest, chosen.Created
		k.Listing, k.Credential = j.scanned.Listing, j.scanned.Credential
	}
	k.Generation, k.Repository, k.Rules, k.Decision = j.policy.Generation, repositoryOf(j.policy), rulesOf(j.policy), decisionOf(result)
	if k.Ref() != j.before.Ref() {
		k.Before, k.At = j.before.Ref(), time.Now().UTC().Truncate(time.Millisecond)
	}
	return nil
}

// hold says why the choice may not be acted on; nil if it may.
func (j *job) hold(chosen policy.Tag, t *tags) *hold {
	ack, _ := time.Parse(time.RFC3339, j.policy.Annotations[VanishedAckAnnotation])
	switch {
	case !j.listing.Complete:
		return &hold{ReasonListingIncomplete, fmt.Sprintf("the image has more tags than are taken; only %d are known", len(j.listing.Tags))}
	case j.lost(ack) > 0:
		latest := j.listing.Vanished[0].Since
		return &hold{ReasonListingShrunk, fmt.Sprintf("%d of the last week's %d tags are gone; if that is as it should be, annotate the policy with %s=%s",
			j.lost(ack), j.lost(ack)+len(j.listing.Tags), VanishedAckAnnotation, latest.UTC().Format(time.RFC3339))}
	case j.chose() && j.sinks(chosen, t):
		if since := j.goneSince(); since.After(ack) {
			return &hold{ReasonTagVanished, fmt.Sprintf("tag %s is gone, and what is left ranks below it; to go down, annotate the policy with %s=%s",
				j.known.Tag, VanishedAckAnnotation, since.UTC().Format(time.RFC3339))}
		}
	case j.chose() && chosen.Name != j.known.Tag && j.hasVanished(j.known.Tag):
		if since := j.goneSince(); since.After(ack) && time.Since(since) < j.VanishedHold {
			j.wakeAt(since.Add(j.VanishedHold))
			return &hold{ReasonTagVanished, fmt.Sprintf("tag %s is gone; %s takes its place at %s, or when the policy is annotated with %s=%s",
				j.known.Tag, chosen.Name, since.Add(j.VanishedHold).UTC().Format(time.RFC3339), VanishedAckAnnotation, since.UTC().Format(time.RFC3339))}
		}
	}
	return nil
}

// lost is how many tags vanished later than a time, if they are more than a third.
func (j *job) lost(ack time.Time) int {
	n := 0
	for _, g := range j.listing.Vanished {
		if g.Since.After(ack) {
			n++
		}
	}
	if 3*n > len(j.listing.Tags)+n {
		return n
	}
	return 0
}

// sinks says whether the present choice cannot be had any more and the new one ranks below it. A tag that somebody leaves out by the
// ImageRepository's exclusions is left on purpose.
func (j *job) sinks(chosen policy.Tag, t *tags) bool {
	if chosen.Name == j.known.Tag {
		return false
	}
	at, listed := t.at[j.known.Tag]
	switch {
	case !listed && j.listing.Has(j.known.Tag):
		return false
	case chosen.Name == "":
		return !listed || t.list[at].Gone
	}
	present := policy.Tag{Name: j.known.Tag, Created: j.known.Created}
	if listed {
		present.Created = t.list[at].Created
	}
	order, ok := j.rules.Rank(chosen, present)
	return !ok || order < 0 // of what is gone not even the age may be known
}

// hasVanished says whether a tag was in an earlier listing and is not in this one.
func (j *job) hasVanished(tag string) bool {
	return slices.ContainsFunc(j.listing.Vanished, func(g imagecache.Gone) bool { return g.Name == tag })
}

// wakeAt has the policy looked at no later than at a time.
func (j *job) wakeAt(at time.Time) {
	if j.nextAt.IsZero() || at.Before(j.nextAt) {
		j.nextAt = at
	}
}

// goneSince is since when the chosen tag is gone.
func (j *job) goneSince() time.Time {
	for _, g := range j.listing.Vanished {
		if g.Name == j.known.Tag {
			return g.Since
		}
	}
	return j.known.At.Truncate(time.Second)
}

// noTag says why none was chosen.
func noTag(result policy.Result) error {
	if result.Considered == 0 {
		return errors.New("no tags in database")
	}
	var why []string
	for reason, n := range result.Counts {
		why = append(why, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(why)
	return fmt.Errorf("unable to determine latest version from provided list: none of %d tags can be chosen (%s)", result.Considered, strings.Join(why, ", "))
}

// mostRejections is how many rejected tags are kept for people to look at.
const mostRejections = 20

func decisionOf(result policy.Result) *state.Decision {
	d := &state.Decision{Considered: result.Considered, Counts: map[string]int{}}
	for reason, n := range result.Counts {
		d.Counts[string(reason)] = n
	}
	for _, r := range result.Rejected[:min(len(result.Rejected), mostRejections)] {
		d.Rejected = append(d.Rejected, state.Rejection{Tag: r.Tag, Reason: string(r.Reason), Until: r.Until})
	}
	return d
}

// requested says whether a run was asked for that the status does not answer yet.
func (j *job) requested() bool {
	asked := kube.RequestedAt(j.policy)
	return asked != "" && asked != j.policy.Status.LastHandledReconcileAt
}
