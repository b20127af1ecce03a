package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// tags are those of a listing, by name.
type tags struct {
	list []policy.Tag
	at   map[string]int
}

// newTags takes the tags that the scanner does not leave out. What was chosen once stays of age: a cache that was emptied counts
// anew how long tags have been there.
func (j *job) newTags() (*tags, error) {
	kept, err := j.listing.Exclude(j.scanned.Exclusions)
	if err != nil {
		return nil, failed(reasonInvalidPolicy, err)
	}
	t := &tags{list: make([]policy.Tag, len(kept)), at: make(map[string]int, len(kept))}
	for i, tag := range kept {
		t.list[i] = policy.Tag{Name: tag.Name, FirstSeen: tag.FirstSeen}
		if tag.Name == j.known.Tag && j.chose() {
			t.list[i].FirstSeen = time.Unix(1, 0)
		}
		t.at[tag.Name] = i
	}
	return t, nil
}

const (
	// fewLookups is how many tags a policy that has chosen may ask a registry about without a turn: as many as are pushed between two scans.
	fewLookups = 10
	// mostLookups is after how many tags a run ends that has a turn.
	mostLookups = 1000
)

// goneFor is how long a tag without manifest is taken to have none.
const goneFor = 10 * time.Minute

// evaluate decides over all tags, and looks up what of them must be known for that: in the cache, then in the registry. What was looked
// up is kept, so a run that is cut short has not been for nothing.
func (j *job) evaluate(ctx context.Context) (policy.Result, *tags, error) {
	t, err := j.newTags()
	if err != nil {
		return policy.Result{}, nil, err
	}
	asked := map[string]bool{}
	var from *registry.Repository
	for {
		result := j.rules.Evaluate(t.list, time.Now())
		if len(result.Missing) == 0 {
			return result, t, nil
		}
		if fresh := unasked(result.Missing, asked); len(fresh) > 0 {
			if err := j.recall(ctx, t, fresh); err != nil {
				return result, nil, err
			}
			continue
		}
		if from == nil {
			if from, err = j.open(ctx); err != nil {
				return result, nil, err
			}
		}
		for _, name := range result.Missing {
			if err := j.mayLookUp(); err != nil {
				return result, nil, err
			}
			if err := j.lookUp(ctx, from, t, name); err != nil {
				return result, nil, err
			}
			j.lookedUp++
		}
	}
}

// mayLookUp says whether one more tag may be looked up in this run. That wants a turn where many are needed, or were by the run before, and
// where nothing was chosen yet.
func (j *job) mayLookUp() error {
	why := fmt.Errorf("images are looked up in %s", j.image.Host())
	switch {
	case j.lookedUp >= mostLookups:
		return goesOn(why)
	case j.hasTurn || j.chose() && j.lookedUp < fewLookups && j.before.LookedUp == 0:
		return nil
	}
	if wait := j.turns.take(j.run.Key, time.Now()); wait > 0 {
		return waiting(wait, why)
	}
	j.hasTurn = true
	return nil
}

func (j *job) endTurn() {
	if j.hasTurn {
		j.turns.giveBack()
	}
}

func unasked(names []string, asked map[string]bool) []string {
	var fresh []string
	for _, name := range names {
		if !asked[name] {
			asked[name] = true
			fresh = append(fresh, name)
		}
	}
	return fresh
}

// open is the repository in the registry, by the way that the ImageRepository says.
func (j *job) open(ctx context.Context) (*registry.Repository, error) {
	access, err := j.Access.Access(ctx, j.repo, j.image)
	if err != nil {
		return nil, err
	}
	return j.Registries.Repository(j.image, access), nil
}

// recall takes from the cache what is known of tags.
func (j *job) recall(ctx context.Context, t *tags, names []string) error {
	digests, err := j.Cache.Digests(ctx, j.scope(), names)
	if err != nil {
		return err
	}
	var wanted []string
	for _, d := range digests {
		if d.Digest != "" {
			wanted = append(wanted, d.Digest)
		}
	}
	known, err := j.Cache.MetadataOf(ctx, j.image.Host(), wanted)
	if err != nil {
		return err
	}
	for name, d := range digests {
		if m := known[d.Digest]; m != nil {
			t.learn(name, m)
		} else if d.Digest == "" && time.Since(d.At) < goneFor {
			t.list[t.at[name]].Gone = true
		}
	}
	return nil
}

// lookUp asks the registry about a tag.
func (j *job) lookUp(ctx context.Context, from *registry.Repository, t *tags, name string) error {
	m, err := j.Cache.LookUp(ctx, j.scope(), from, name)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		t.list[t.at[name]].Gone = true
		return nil
	case err != nil:
		return err
	}
	t.learn(name, m)
	return nil
}

// learn notes what the image of a tag is. An image that does not say when it was built is older than all that do.
func (t *tags) learn(name string, m *registry.Metadata) {
	tag := &t.list[t.at[name]]
	tag.Created, tag.Platforms = m.Created, m.Platforms
	if tag.Created.IsZero() {
		tag.Created = time.Unix(0, 0).UTC()
	}
	if tag.Platforms == nil {
		tag.Platforms = []string{}
	}
}

// reflect returns the digest that is to stand beside the chosen tag.
func (j *job) reflect(ctx context.Context, tag string) (string, error) {
	same := j.before.Name == j.repo.Spec.Image && j.before.Tag == tag
	switch j.policy.GetDigestReflectionPolicy() {
	case imagev1.ReflectIfNotPresent:
		if same && j.before.Digest != "" {
			return j.before.Digest, nil
		}
	case imagev1.ReflectAlways:
		known, err := j.Cache.Digests(ctx, j.scope(), []string{tag})
		if err != nil {
			return "", err
		}
		pushed, err := j.Cache.PushedAt(ctx, j.scope().Image)
		if err != nil {
			return "", err
		}
		if d := known[tag]; d.Digest != "" && time.Since(d.At) < j.policy.GetInterval()*85/100 && d.At.After(pushed) && !j.requested() {
			return d.Digest, nil
		}
	default:
		return "", nil
	}
	digest, err := j.fetchDigest(ctx, tag)
	if err != nil {
		return "", fmt.Errorf("failed fetching digest of %s:%s: %w", j.repo.Spec.Image, tag, err)
	}
	return digest, nil
}

func (j *job) fetchDigest(ctx context.Context, tag string) (string, error) {
	from, err := j.open(ctx)
	if err != nil {
		return "", err
	}
	digest, err := from.Digest(ctx, tag)
	if err != nil {
		return "", err
	}
	return digest, j.Cache.PutDigest(ctx, j.scope(), tag, imagecache.Digest{Digest: digest, At: time.Now()})
}
