package update

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// Reasons why a place is left as it is, as conditions and Events give them.
const (
	reasonOnHold     = "OnHold"
	reasonLocked     = "Locked"
	reasonDowngrade  = "Downgrade"
	reasonRolledBack = "RolledBack"
	reasonUnknownAge = "BuildTimeUnknown"
)

// held is an image that is left as it is though its policy chose another one.
type held struct {
	Policy  string
	Place   string // file:line
	Present string
	Wanted  string
	Reason  string
	Message string
}

// group are the marked places that change together or not at all: those of one object for one policy.
type group struct {
	policy string
	object edit.Object
}

func groupOf(m edit.Marker) group { return group{m.Policy.Name, m.Object} }

// decide says for which groups of a file the choice must not be written. Names, tags and digests of an image are often apart, so a group is
// looked at as a whole before any of it is changed.
func (s *scanner) decide(ctx context.Context, name string, data []byte) (map[group]*held, error) {
	f, err := edit.Parse(name, data)
	if err != nil {
		return nil, nil // which is told when the file is edited
	}
	markers, _ := f.Markers()
	decisions := map[group]*held{}
	for _, m := range markers {
		c := s.choices.taken[m.Policy.Name]
		if m.Policy.Namespace != s.namespace || c == nil || c.ref.Name == "" || decisions[groupOf(m)] != nil || !s.mine(m.Policy.Name, m.File) {
			continue
		}
		want, err := m.Want(c.ref)
		if err != nil || want == m.Value {
			continue
		}
		h, err := s.objection(ctx, c, m)
		if err != nil {
			return nil, err
		}
		if h != nil {
			h.Place, h.Present = fmt.Sprintf("%s:%d", m.File, m.Line), m.Value
			decisions[groupOf(m)] = h
			s.found.held = append(s.found.held, *h)
		}
	}
	return decisions, nil
}

// objection says why a choice must not replace what a place holds.
func (s *scanner) objection(ctx context.Context, c *choice, m edit.Marker) (*held, error) {
	if c.held != nil {
		h := *c.held
		return &h, nil
	}
	if present := tagOf(m); present != "" && present != c.ref.Tag {
		if h := s.lower(ctx, c, present); h != nil {
			if s.asksForLower(c) {
				return nil, nil
			}
			return h, nil
		}
	}
	return s.rolledBack(ctx, c, m)
}

// lower objects to a choice that ranks below what is there, or may do so.
func (s *scanner) lower(ctx context.Context, c *choice, present string) *held {
	is, will := s.tag(ctx, c, present), s.tag(ctx, c, c.ref.Tag)
	if order, ranked := c.policy.Rank(is, will); ranked && order > 0 {
		return c.hold(reasonDowngrade, fmt.Sprintf("%s ranks below %s, which is there; annotation %s: \"true\" on the policy lets it be written", c.ref.Tag, present, downgradeAnnotation))
	}
	for _, tag := range []policy.Tag{is, will} {
		if c.policy.Unknown(tag) {
			return c.hold(reasonUnknownAge, fmt.Sprintf("when %s was built is not known, so %s may be older than %s, which is there; annotation %s: \"true\" on the policy lets it be written",
				tag.Name, c.ref.Tag, present, downgradeAnnotation))
		}
	}
	return nil
}

// tagOf is the tag that a marked place holds at present, if it holds one.
func tagOf(m edit.Marker) string {
	switch m.Part {
	case edit.Tag:
		return m.Value
	case edit.Image:
		if ref, err := imageref.Parse(m.Value); err == nil {
			return ref.Tag
		}
	}
	return ""
}

// tag is what is known of a tag, as far as the order of the policy asks for it.
func (s *scanner) tag(ctx context.Context, c *choice, name string) policy.Tag {
	t := policy.Tag{Name: name}
	if name == c.chosen.Tag && !c.chosen.Created.IsZero() {
		t.Created = c.chosen.Created
	} else if c.object.Annotations[policy.OrderAnnotation] == string(policy.Newest) {
		t.Created = s.created(ctx, c, name)
	}
	return t
}

// created is when the image of a tag was built, as the cache remembers it; zero where it does not.
func (u *updater) created(ctx context.Context, c *choice, tag string) time.Time {
	image, err := registry.ParseImage(c.chosen.Image)
	if err != nil || u.Cache == nil {
		return time.Time{}
	}
	digests, err := u.Cache.Digests(ctx, imagecache.Scope{Image: c.chosen.Image, Credential: c.chosen.Credential}, []string{tag})
	if err != nil {
		return time.Time{}
	}
	meta, err := u.Cache.Metadata(ctx, image.Host(), digests[tag].Digest)
	if err != nil || meta == nil {
		return time.Time{}
	}
	return meta.Created
}

// asksForLower says whether a person has asked for a choice that ranks below what is there: by another rule in the policy since that was
// written, or by an annotation.
func (s *scanner) asksForLower(c *choice) bool {
	before, known := s.known.Written[c.object.Name]
	return known && before.Rule != "" && before.Rule != c.rule || c.object.Annotations[downgradeAnnotation] == "true"
}

// rolledBack objects to a choice that somebody has set back. A version above that one is not held, nor one that somebody asks for in its place.
func (s *scanner) rolledBack(ctx context.Context, c *choice, m edit.Marker) (*held, error) {
	name := c.object.Name
	before, isHeld := s.known.Holds[name]
	if isHeld && c.ref.String() != before.Ref && (s.above(ctx, c, before) || s.asksForLower(c)) {
		isHeld = false
	}
	if !isHeld {
		if s.known.never(name, c.ref.String()) {
			return nil, nil
		}
		found, err := s.reverted(ctx, c, m)
		if err != nil || found == nil {
			return nil, err
		}
		before = *found
		s.known.Holds[name] = before
	}
	return c.hold(reasonRolledBack, before.String()), nil
}

// above says whether the choice is newer than the version that is held.
func (s *scanner) above(ctx context.Context, c *choice, h hold) bool {
	order, ranked := c.policy.Rank(s.tag(ctx, c, c.ref.Tag), s.tag(ctx, c, h.Tag))
	return !ranked || order >= 0
}
