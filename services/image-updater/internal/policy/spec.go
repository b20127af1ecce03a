package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
)

// ErrInvalid is in every error about a policy that cannot be evaluated; it
// stays so until its specification changes.
var ErrInvalid = errors.New("invalid policy")

// Order is how tags are ranked.
type Order string

const (
	// SemVer ranks by semantic version.
	SemVer Order = "semver"
	// Numerical ranks by number.
	Numerical Order = "numerical"
	// Alphabetical ranks by bytes.
	Alphabetical Order = "alphabetical"
	// Newest ranks by build time.
	Newest Order = "newest"
)

// Annotations on an ImagePolicy for what its specification has no field for.
const (
	// OrderAnnotation replaces the order of spec.policy; its one value is newest.
	OrderAnnotation = "sluice.dev/order"
	// TagsAnnotation is one more filter: glob:…, regex:… or semver:….
	TagsAnnotation = "sluice.dev/tags"
	// MinAgeAnnotation is how long a tag must have been seen before it is chosen, as 1h30m.
	MinAgeAnnotation = "sluice.dev/min-age"
	// PlatformAnnotation is the platform whose manifest a tag must have, as linux/amd64.
	PlatformAnnotation = "sluice.dev/platform"
)

// Limits of what a policy may say.
const (
	maxPattern = 1024 // bytes of a pattern, a range or a template
	maxExtract = 1024 // bytes that a template may make of a tag
	maxTag     = 128
)

// Spec is what a policy says.
type Spec struct {
	Order      Order
	Range      string // of versions, for SemVer; every version when empty
	Descending bool   // for Numerical and Alphabetical: the lowest is best
	// Loose takes 1.10 for a version too, which Flux v1 did and v2 does not.
	Loose bool

	Pattern string // regular expression that tags must match; all do when empty
	Extract string // what of a match is ranked, as in $ts; the tag when empty
	Match   string // glob:…, regex:… or semver:… that tags must match too
	// SkipLatest leaves the tag latest out.
	SkipLatest bool

	MinAge   time.Duration
	Platform string // os/arch or os/arch/variant
}

// Policy is a Spec that is ready to be evaluated. It may be used by many at once.
type Policy struct {
	spec       Spec
	constraint *semver.Constraints
	pattern    *regexp.Regexp
	match      func(string) bool
}

// New checks the specification. Its error is ErrInvalid with the reason.
func New(spec Spec) (*Policy, error) {
	p := &Policy{spec: spec}
	for _, step := range []func() error{p.compileOrder, p.compilePattern, p.compileMatch, p.checkGates} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return p, nil
}

// FromObject is the policy that an ImagePolicy describes with its specification
// and its annotations.
func FromObject(object *imagev1.ImagePolicy) (*Policy, error) {
	spec, err := specOf(object.Spec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch order := object.Annotations[OrderAnnotation]; order {
	case "":
	case string(Newest):
		spec.Order, spec.Range, spec.Descending = Newest, "", false
	default:
		return nil, fmt.Errorf("%w: annotation %s says %.50q; it can say %s", ErrInvalid, OrderAnnotation, order, Newest)
	}
	spec.Match, spec.Platform = object.Annotations[TagsAnnotation], object.Annotations[PlatformAnnotation]
	if age, ok := object.Annotations[MinAgeAnnotation]; ok {
		if spec.MinAge, err = time.ParseDuration(age); err != nil || spec.MinAge < 0 {
			return nil, fmt.Errorf("%w: annotation %s says %.50q, which is no length of time", ErrInvalid, MinAgeAnnotation, age)
		}
	}
	return New(spec)
}

func specOf(from imagev1.ImagePolicySpec) (Spec, error) {
	var spec Spec
	order := ""
	switch choice := from.Policy; {
	case choice.SemVer != nil:
		spec.Order, spec.Range = SemVer, choice.SemVer.Range
	case choice.Alphabetical != nil:
		spec.Order, order = Alphabetical, choice.Alphabetical.Order
	case choice.Numerical != nil:
		spec.Order, order = Numerical, choice.Numerical.Order
	default:
		return spec, errors.New("spec.policy has neither semver, alphabetical nor numerical")
	}
	switch strings.ToLower(order) {
	case "", "asc":
	case "desc":
		spec.Descending = true
	default:
		return spec, fmt.Errorf("order is %.50q; it can be asc or desc", order)
	}
	if from.FilterTags != nil {
		spec.Pattern, spec.Extract = from.FilterTags.Pattern, from.FilterTags.Extract
	}
	return spec, nil
}

// FromFilter is the policy of an annotation of Flux v1: semver:… ranks by
// version, glob:…, regex:…, regexp:… and a bare glob rank by build time; an
// empty one takes every tag. The tag latest is chosen only by a glob that names it.
func FromFilter(filter string) (*Policy, error) {
	if versions, ok := strings.CutPrefix(filter, "semver:"); ok {
		if strings.TrimSpace(versions) == "" {
			return nil, fmt.Errorf("%w: empty range of versions", ErrInvalid)
		}
		return New(Spec{Order: SemVer, Range: versions, Loose: true, SkipLatest: true})
	}
	if filter == "" {
		filter = "*"
	}
	if !strings.HasPrefix(filter, "glob:") && !strings.HasPrefix(filter, "regex:") && !strings.HasPrefix(filter, "regexp:") {
		filter = "glob:" + filter
	}
	return New(Spec{Order: Newest, Match: filter, SkipLatest: filter != "glob:latest"})
}
