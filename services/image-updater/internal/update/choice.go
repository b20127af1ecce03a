package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// choice is a policy that an automation takes, and what it has chosen.
type choice struct {
	object *imagev1.ImagePolicy
	chosen state.Chosen
	ref    imageref.Ref // empty where nothing is chosen yet
	policy *policy.Policy
	rule   string // a digest of what a person says about which image to choose
	held   *held  // why it is not written anywhere, as far as that is known before a look at the files
	until  time.Time
}

// choices are the policies of a namespace.
type choices struct {
	taken map[string]*choice
	known map[string]bool // all there are, taken or not
}

// choices reads what the policies that the automation takes have chosen.
func (u *updater) choices(ctx context.Context, auto *automationv1.ImageUpdateAutomation) (*choices, error) {
	selector, err := selectorOf(auto)
	if err != nil {
		return nil, &specError{automationv1.InvalidPolicySelectorReason, true, fmt.Errorf("failed to parse policy selector: %w", err)}
	}
	var list imagev1.ImagePolicyList
	if err := u.cluster.Cache.List(ctx, &list, client.InNamespace(auto.Namespace)); err != nil {
		return nil, fmt.Errorf("list image policies: %w", err)
	}
	chosen, err := stage.ListStates[state.Chosen](ctx, u.bus, state.StagePolicy, auto.Namespace)
	if err != nil {
		return nil, fmt.Errorf("read what policies have chosen: %w", err)
	}
	all := &choices{taken: map[string]*choice{}, known: map[string]bool{}}
	for i := range list.Items {
		object := &list.Items[i]
		all.known[object.Name] = true
		if selector.Matches(labels.Set(object.Labels)) && object.DeletionTimestamp == nil {
			all.taken[object.Name] = newChoice(object, chosen[client.ObjectKeyFromObject(object)])
		}
	}
	return all, nil
}

// newChoice reads a policy and its record. One about an older specification says nothing about the present one, unless the policy is suspended:
// then the last choice stays.
func newChoice(object *imagev1.ImagePolicy, chosen state.Chosen) *choice {
	c := &choice{object: object, chosen: chosen, rule: ruleOf(object)}
	if chosen.UID == object.UID && (chosen.Generation == object.Generation || object.Spec.Suspend) && chosen.Name != "" {
		c.ref = imageref.Ref{Name: chosen.Name, Tag: chosen.Tag, Digest: chosen.Digest}
	}
	var err error
	if c.policy, err = policy.FromObject(object); err != nil {
		c.ref = imageref.Ref{} // its status says why
	}
	c.held, c.until = c.asked(time.Now())
	return c
}

// ruleOf is another one whenever a person asks for another choice, and the same when registries say something else.
func ruleOf(p *imagev1.ImagePolicy) string {
	text, err := json.Marshal([]any{
		p.Spec.ImageRepositoryRef, p.Spec.Policy, p.Spec.FilterTags, p.Annotations[policy.OrderAnnotation], p.Annotations[policy.TagsAnnotation],
		p.Annotations[policy.PlatformAnnotation], p.Annotations[policy.MinAgeAnnotation],
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// digest tells whether anything was chosen or held otherwise than before.
func (c *choices) digest() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.taken)) {
		one := c.taken[name]
		reason := ""
		if one.held != nil {
			reason = one.held.Reason
		}
		fmt.Fprintln(sum, name, one.ref, one.rule, reason)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// latest is when the latest choice was made.
func (c *choices) latest() time.Time {
	var at time.Time
	for _, one := range c.taken {
		if one.chosen.At.After(at) {
			at = one.chosen.At
		}
	}
	return at
}

// observed is what the status says of the policies; those that have chosen nothing just now keep what they had.
func (c *choices) observed(before automationv1.ObservedPolicies) automationv1.ObservedPolicies {
	all := automationv1.ObservedPolicies{}
	for name, one := range c.taken {
		if ref, ok := before[name]; ok {
			all[name] = ref
		}
		if one.ref.Name != "" {
			all[name] = automationv1.ImageRef{Name: one.ref.Name, Tag: one.ref.Tag, Digest: one.ref.Digest}
		}
	}
	return all
}

// until is the time to the first end of a hold, zero for none.
func (c *choices) until(now time.Time) time.Duration {
	var first time.Time
	for _, one := range c.taken {
		if !one.until.IsZero() && (first.IsZero() || one.until.Before(first)) {
			first = one.until
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(first.Sub(now), time.Second)
}

// Annotations on an ImagePolicy, or an annotated workload, by which people hold it where it is.
const (
	// holdAnnotation says why; holdUntilAnnotation until when, as 2026-12-24T18:00:00Z.
	holdAnnotation      = "sluice.dev/hold"
	holdUntilAnnotation = "sluice.dev/hold-until"
	// downgradeAnnotation set to true lets a choice be written that ranks below what is there.
	downgradeAnnotation = "sluice.dev/allow-downgrade"
)

// lockPrefixes are those of Flux v1's annotations.
var lockPrefixes = []string{"fluxcd.io/", "flux.weave.works/"}

// asked says whether somebody asked for the policy to be held, or its own stage did, and when that ends by itself.
func (c *choice) asked(now time.Time) (*held, time.Time) {
	notes := c.object.Annotations
	if why, until := onHold(notes, now); why != "" {
		return c.hold(reasonOnHold, why), until
	}
	for _, prefix := range lockPrefixes {
		if notes[prefix+"locked"] == "true" {
			why := "locked"
			if user := notes[prefix+"locked_user"]; user != "" {
				why += " by " + user
			}
			if message := notes[prefix+"locked_msg"]; message != "" {
				why += ": " + message
			}
			return c.hold(reasonLocked, why), time.Time{}
		}
	}
	if c.chosen.Held != "" {
		return c.hold(orReason(c.chosen.HeldReason), c.chosen.Held), time.Time{}
	}
	return nil, time.Time{}
}

// onHold says why annotations of a policy or workload hold it, and until when; empty where they do not.
func onHold(notes map[string]string, now time.Time) (string, time.Time) {
	why, ok := notes[holdAnnotation]
	if !ok || why == "false" {
		return "", time.Time{}
	}
	until, err := time.Parse(time.RFC3339, notes[holdUntilAnnotation])
	switch {
	case notes[holdUntilAnnotation] == "":
		return "on hold: " + why, time.Time{}
	case err != nil:
		return fmt.Sprintf("on hold: %s (until when cannot be read from annotation %s)", why, holdUntilAnnotation), time.Time{}
	case now.Before(until):
		return fmt.Sprintf("on hold until %s: %s", until.UTC().Format(time.RFC3339), why), until
	}
	return "", time.Time{}
}

func orReason(reason string) string {
	if strings.TrimSpace(reason) == "" {
		return reasonOnHold
	}
	return reason
}

// below says that the choice ranks below a version that somebody has set back, which is to stay out then.
func (c *choice) below(h hold) bool {
	order, ranked := c.policy.Rank(policy.Tag{Name: c.ref.Tag}, policy.Tag{Name: h.Tag})
	return ranked && order < 0
}

func (c *choice) hold(reason, message string) *held {
	return &held{Policy: c.object.Name, Wanted: c.ref.String(), Reason: reason, Message: message}
}
