package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// job is one run of one policy.
type job struct {
	*Policies
	run    *stage.Run
	policy *imagev1.ImagePolicy

	before, known state.Chosen // what was saved, and what is to be

	repo     *imagev1.ImageRepository
	image    registry.Image
	rules    *policy.Policy
	scanned  state.Scanned
	listing  *imagecache.Listing
	lookedUp int       // tags that a registry was asked about
	hasTurn  bool      // to ask about many
	nextAt   time.Time // when a better tag comes of age, or a hold ends; zero for none
}

// load reads what was last chosen. Where the bus lost it, the status has it.
func (j *job) load() error {
	if _, err := j.run.Load(&j.known); err != nil {
		return err
	}
	if j.known.UID != j.policy.UID {
		j.known = chosenBefore(j.policy)
	}
	j.before = j.known
	return nil
}

// chosenBefore reads from the status what was chosen by the present spec.
func chosenBefore(p *imagev1.ImagePolicy) state.Chosen {
	c := state.Chosen{UID: p.UID}
	ref := p.Status.LatestRef
	if ref == nil || p.Status.ObservedGeneration != p.Generation {
		return c
	}
	image, err := registry.ParseImage(ref.Name)
	if err != nil {
		return c
	}
	c.Generation, c.Image, c.Name, c.Tag, c.Digest, c.Rules = p.Generation, image.String(), ref.Name, ref.Tag, ref.Digest, rulesOf(p)
	if before := p.Status.ObservedPreviousRef; before != nil {
		c.Before = before.String()
	}
	return c
}

// rulesOf names the rules by which a policy chooses: while they stay, no lower image follows a higher one unasked.
func rulesOf(p *imagev1.ImagePolicy) string {
	data, err := json.Marshal([]any{
		p.Spec.ImageRepositoryRef, p.Spec.Policy, p.Spec.FilterTags,
		p.Annotations[policy.OrderAnnotation], p.Annotations[policy.TagsAnnotation], p.Annotations[policy.PlatformAnnotation],
	})
	if err != nil { // strings alone
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// chose says whether the last choice was made by the present rules for the present image.
func (j *job) chose() bool {
	return j.known.Tag != "" && j.known.Rules == rulesOf(j.policy) && (j.repo == nil || j.known.Image == j.image.String())
}

// safetyNet is how long a policy goes without being looked at, should a fact be lost.
const safetyNet = time.Hour

func (j *job) next() time.Duration {
	next := safetyNet
	if every := j.policy.GetInterval(); every > 0 {
		next = min(next, max(every, time.Second))
	}
	if !j.nextAt.IsZero() {
		next = min(next, max(time.Until(j.nextAt), 100*time.Millisecond))
	}
	return next
}

// choose reads the tags and makes the choice.
func (j *job) choose(ctx context.Context) error {
	if j.policy.GetDigestReflectionPolicy() == imagev1.ReflectAlways && j.policy.Spec.Interval == nil {
		return stalled(imagev1.IntervalNotConfiguredReason, errors.New("spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'"))
	}
	var err error
	if j.repo, err = j.repository(ctx); err != nil {
		return err
	}
	if j.image, err = registry.ParseImage(j.repo.Spec.Image); err != nil {
		j.repo = nil
		return stalled(imagev1.ImageURLInvalidReason, err)
	}
	if j.rules, err = policy.FromObject(j.policy); err != nil {
		return stalled(reasonInvalidPolicy, err)
	}
	if err := j.readListing(ctx); err != nil {
		return err
	}
	result, tags, err := j.evaluate(ctx)
	if err != nil {
		return err
	}
	return j.decide(ctx, result, tags)
}

const reasonInvalidPolicy = "InvalidPolicy" // Flux's word

// readListing reads the tags that the scanner's record names. As long as they are not there, what was chosen stays.
func (j *job) readListing(ctx context.Context) error {
	key := repositoryOf(j.policy)
	if _, err := stage.ReadState(ctx, j.Env.Bus, state.StageScan, key, &j.scanned); err != nil {
		return err
	}
	s := &j.scanned
	if s.UID != j.repo.UID || s.Listing == "" || s.Image != j.image.String() || s.Generation != j.repo.Generation && !j.repo.Spec.Suspend {
		return waiting(2*time.Second, fmt.Errorf("no tags of image repository %s are known yet", key))
	}
	var err error
	j.listing, err = j.Cache.ListingOf(ctx, j.scope(), s.Listing)
	if err != nil {
		return err
	}
	if j.listing != nil {
		return nil
	}
	// Replaced just now, or lost. To ask for a scan that needs none costs nothing.
	if err := stage.Wake(ctx, j.Env.Bus, state.StageScan, key, stage.Hint{Cause: "listing missing"}); err != nil {
		return err
	}
	return waiting(5*time.Second, fmt.Errorf("the tags of image repository %s are not in the image cache; a scan is asked for", key))
}

// scope is the image as the scanner saw it.
func (j *job) scope() imagecache.Scope {
	return imagecache.Scope{Image: j.scanned.Image, Credential: j.scanned.Credential}
}
