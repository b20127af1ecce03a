package update

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

const (
	// lookupTime bounds how long one run asks registries.
	lookupTime = 2 * time.Minute
	// lookupsAtOnce is how many images are asked about at once.
	lookupsAtOnce = 8
	// mostLookups is how many tags of one image a run asks about; the next goes on.
	mostLookups = 100
	// maxPages bounds a listing whose pages never end.
	maxPages = 1000
)

// wanted is an image that annotated workloads run, the filter on its tags, and what the pods pull it with.
type wanted struct {
	name, filter   string
	namespace      string
	serviceAccount string
	pullSecrets    string // joined with commas
	// pinned is the image beside whose tag a digest is written: that of another tag is wanted, too.
	pinned imageref.Ref
}

// verdict is what was decided about a wanted image.
type verdict struct {
	tag      string // chosen; empty for none
	digest   string // of the tag, where the image is pinned to one
	policy   *policy.Policy
	tags     map[string]policy.Tag
	held     string // why nothing may be written now
	excluded bool   // by the settings
	problem  error
	again    time.Duration // when to go on with the question; zero when it is answered
}

// images decides about wanted images. No failure of one concerns another.
type images struct {
	*updater
	every time.Duration // how old a listing may be
	since time.Time     // a listing must have begun after that; zero for any
	// insecure are the hosts that the automation lets be asked over plain HTTP.
	insecure []string
}

// errInsecure says that an automation wants plain HTTP where the settings forbid it.
var errInsecure = errors.New("the settings of image-updater do not let it be asked over plain HTTP")

// decideAll asks about all of them, some at once. Those of one image take turns: the first lists its tags for all.
func (i *images) decideAll(ctx context.Context, all []wanted) map[wanted]*verdict {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	verdicts := map[wanted]*verdict{}
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	byImage := map[string][]wanted{}
	for _, w := range all {
		if verdicts[w] == nil {
			verdicts[w] = &verdict{}
			byImage[w.name] = append(byImage[w.name], w)
		}
	}
	for _, list := range byImage {
		group.Go(func() error {
			for _, w := range list {
				i.decideOne(ctx, w, verdicts[w])
			}
			return nil
		})
	}
	_ = group.Wait()
	return verdicts
}

func (i *images) decideOne(ctx context.Context, w wanted, v *verdict) {
	defer func() {
		if p := recover(); p != nil { // an answer of a registry that nobody has thought of
			i.Env.Log.Error("decision about an image panicked", "image", w.name, "err", p, "stack", string(debug.Stack()))
			v.problem = fmt.Errorf("panic: %v", p)
		}
	}()
	i.decide(ctx, w, v)
}

// decide chooses a tag, or says why it cannot.
func (i *images) decide(ctx context.Context, w wanted, v *verdict) {
	if v.policy, v.problem = policy.FromFilter(w.filter); v.problem != nil {
		return
	}
	image, err := registry.ParseImage(w.name)
	if err != nil {
		v.problem = err
		return
	}
	if v.excluded = !i.Images.Scans(image); v.excluded {
		return
	}
	access, noLogin, err := i.way(ctx, w, image)
	if err != nil {
		v.problem = err
		return
	}
	scope := i.Cache.NewScope(image.String(), access.ID())
	from := i.Registries.Repository(image, access)
	listing, err := i.listing(ctx, scope, from)
	if err == nil && listing == nil {
		v.again = time.Second
		return
	}
	if err == nil {
		err = i.evaluate(ctx, v, scope, image, from, listing)
	}
	if err == nil && v.tag != "" && w.pinned.Digest != "" && v.tag != w.pinned.Tag {
		v.digest, err = from.Digest(ctx, v.tag)
	}
	if v.again = soon(err); v.again == 0 {
		v.problem = err
	}
	if errors.Is(v.problem, registry.ErrUnauthorized) && noLogin != nil {
		v.problem = fmt.Errorf("%w; %w", v.problem, noLogin)
	}
}

// way is how an image is reached. Where nothing else gives a login, it is the one that the cloud has for this process; noLogin says why that
// cannot be had.
func (i *images) way(ctx context.Context, w wanted, image registry.Image) (access registry.Access, noLogin, err error) {
	if access, err = i.access(ctx, w, image); err != nil {
		return access, nil, err
	}
	if access.Credential == nil {
		access, noLogin = i.Access.Ambient(ctx, image)
	}
	if access.Insecure = imageaccess.OnHost(i.insecure, image); access.Insecure && !i.Images.AllowsInsecure(image) {
		return access, nil, fmt.Errorf("registry %s: %w", image.Host(), errInsecure)
	}
	return access, noLogin, nil
}

// soon is when a failure that is nobody's fault ends.
func soon(err error) time.Duration {
	var deferred *registry.Deferred
	var answer *registry.Error
	switch {
	case errors.As(err, &deferred):
		return max(deferred.Wait, 100*time.Millisecond)
	case errors.As(err, &answer) && errors.Is(err, registry.ErrTooManyRequests):
		return max(answer.RetryAfter, 10*time.Second)
	}
	return 0
}

// access finds a login as the kubelet would: in the pull secrets of the pods, then in those of their service account.
func (i *images) access(ctx context.Context, w wanted, image registry.Image) (registry.Access, error) {
	repo := func(change func(*imagev1.ImageRepositorySpec)) *imagev1.ImageRepository {
		r := &imagev1.ImageRepository{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace}, Spec: imagev1.ImageRepositorySpec{Image: w.name}}
		change(&r.Spec)
		return r
	}
	for _, name := range strings.FieldsFunc(w.pullSecrets, func(r rune) bool { return r == ',' }) {
		access, err := i.Access.Access(ctx, repo(func(s *imagev1.ImageRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: name} }), image)
		if err == nil {
			return access, nil
		}
		var fault *imageaccess.Error
		if !errors.As(err, &fault) {
			return access, err
		}
	}
	account := w.serviceAccount
	if account == "" {
		account = "default"
	}
	access, err := i.Access.Access(ctx, repo(func(s *imagev1.ImageRepositorySpec) { s.ServiceAccountName = account }), image)
	var fault *imageaccess.Error
	if errors.As(err, &fault) { // no such account yet, say: the image may be public
		return i.Access.Access(ctx, repo(func(*imagev1.ImageRepositorySpec) {}), image)
	}
	return access, err
}

// listing returns the tags of an image: those in the cache where they are fresh enough, otherwise new ones. It is nil when somebody else is
// listing them.
func (i *images) listing(ctx context.Context, scope imagecache.Scope, from *registry.Repository) (*imagecache.Listing, error) {
	before, err := i.Cache.Listing(ctx, scope)
	if err != nil || i.fresh(before) {
		return before, err
	}
	lock, err := i.Cache.Begin(ctx, scope)
	if err != nil || lock == nil {
		return nil, err
	}
	defer lock.Release(ctx)
	if before = lock.Listing; i.fresh(before) {
		return before, nil
	}
	started := time.Now().UTC()
	var names []string
	next, complete := "", true
	for page := 0; page == 0 || next != ""; page++ {
		got, err := from.Tags(ctx, next)
		if err != nil {
			return nil, err
		}
		if page == maxPages {
			return nil, fmt.Errorf("list tags: %w: more than %d pages", registry.ErrMalformed, maxPages)
		}
		if names, next = append(names, got.Tags...), got.Next; len(names) > i.Images.MaxTags || len(names) == i.Images.MaxTags && next != "" {
			names, complete = names[:i.Images.MaxTags], false
			break
		}
	}
	listing := imagecache.NewListing(scope.Image, names, complete, started, time.Now(), before)
	return listing, lock.Finish(ctx, listing)
}

func (i *images) fresh(l *imagecache.Listing) bool {
	return l != nil && time.Since(l.ScannedAt) < i.every*9/10 && !l.StartedAt.Before(i.since)
}

// evaluate chooses among the tags, and looks up what must be known of them for that.
func (i *images) evaluate(ctx context.Context, v *verdict, scope imagecache.Scope, image registry.Image, from *registry.Repository, listing *imagecache.Listing) error {
	kept, err := listing.Exclude((imagev1.ImageRepository{}).GetExclusionList()) // signatures, as by default
	if err != nil {
		return err
	}
	v.tags = make(map[string]policy.Tag, len(kept))
	list := make([]policy.Tag, len(kept))
	for n, t := range kept {
		list[n] = policy.Tag{Name: t.Name, FirstSeen: t.FirstSeen}
	}
	switch {
	case !listing.Complete:
		v.held = "not all tags of the image are known"
	case listing.Shrunk():
		v.held = "more than a third of the image's tags have vanished"
	}
	var result policy.Result
	for lookups := 0; ; {
		if result = v.policy.Evaluate(list, time.Now()); len(result.Missing) == 0 {
			break
		}
		for _, name := range result.Missing {
			if lookups++; lookups > mostLookups {
				return &registry.Deferred{Host: image.Host(), Wait: time.Second}
			}
			at := slices.IndexFunc(list, func(t policy.Tag) bool { return t.Name == name })
			if err := i.lookUp(ctx, &list[at], scope, from); err != nil {
				return err
			}
		}
	}
	for _, t := range list {
		v.tags[t.Name] = t
	}
	v.tag = result.Chosen.Name
	return nil
}

// lookUp finds when an image was built, in the cache or in the registry.
func (i *images) lookUp(ctx context.Context, t *policy.Tag, scope imagecache.Scope, from *registry.Repository) error {
	known, err := i.Cache.LookUp(ctx, scope, from, t.Name)
	if errors.Is(err, registry.ErrNotFound) || err == nil && known.Created.IsZero() {
		t.Gone = true // or says no time: it cannot be ranked
		return nil
	}
	if err != nil {
		return err
	}
	t.Created, t.Platforms = known.Created, known.Platforms
	return nil
}
