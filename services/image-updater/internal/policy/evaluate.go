package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Evaluate decides over all tags of an image repository at a time. Names must
// differ; the order in which the tags come does not matter.
func (p *Policy) Evaluate(tags []Tag, now time.Time) Result {
	result := Result{Considered: len(tags), Counts: map[Reason]int{}}
	candidates, unranked := p.candidates(tags)
	for _, r := range unranked {
		if r.Reason == NoBuildTime {
			result.Incomplete = true
			result.miss(r.Tag)
		}
	}
	for _, c := range candidates {
		p.decide(&result, c, now)
	}
	for _, r := range unranked {
		result.reject(r)
	}
	return result
}

// candidates ranks the tags, best first, and gives the others with the reason.
// Those come newest-looking first, by their names.
func (p *Policy) candidates(tags []Tag) ([]ranked, []Rejection) {
	var candidates []ranked
	var others []Rejection
	for _, t := range tags {
		r, reason := p.rank(t)
		if reason == "" && p.constraint != nil && !p.constraint.Check(r.version) {
			reason = OutOfRange
		}
		if reason != "" {
			others = append(others, Rejection{Tag: t.Name, Reason: reason})
			continue
		}
		candidates = append(candidates, r)
	}
	slices.SortFunc(candidates, func(a, b ranked) int { return p.compare(b, a) })
	slices.SortFunc(others, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(b.near(), a.near()), natural(b.Tag, a.Tag), cmp.Compare(b.Tag, a.Tag))
	})
	return candidates, others
}

// near is how close a tag without rank came to being chosen.
func (r Rejection) near() int {
	switch r.Reason {
	case NoBuildTime, Gone:
		return 2
	case OutOfRange:
		return 1
	}
	return 0
}

// decide takes the next candidate: it is the choice if there is none yet and
// nothing holds it back.
func (p *Policy) decide(result *Result, c ranked, now time.Time) {
	if result.Chosen.Name != "" {
		result.reject(Rejection{Tag: c.tag.Name, Reason: Lower})
		return
	}
	reason, until := p.gate(c.tag, now)
	switch {
	case reason == PlatformUnknown:
		result.miss(c.tag.Name)
	case reason == TooYoung && (result.NextAt.IsZero() || until.Before(result.NextAt)):
		result.NextAt = until
	case reason == "" && result.Incomplete:
		reason = Lower // something of unknown age may be newer
	case reason == "":
		result.Chosen = c.tag
		return
	}
	result.reject(Rejection{Tag: c.tag.Name, Reason: reason, Until: until})
}

// gate says why a candidate must wait, and until when.
func (p *Policy) gate(t Tag, now time.Time) (Reason, time.Time) {
	if t.Gone {
		return Gone, time.Time{}
	}
	if p.spec.MinAge > 0 {
		if t.FirstSeen.IsZero() {
			return AgeUnknown, time.Time{}
		}
		if until := t.FirstSeen.Add(p.spec.MinAge); now.Before(until) {
			return TooYoung, until
		}
	}
	switch {
	case p.spec.Platform == "":
	case t.Platforms == nil:
		return PlatformUnknown, time.Time{}
	case !slices.ContainsFunc(t.Platforms, func(have string) bool { return runsOn(have, p.spec.Platform) }):
		return OtherPlatform, time.Time{}
	}
	return "", time.Time{}
}

// runsOn says whether an image for one platform is one for the platform asked
// for; a variant counts only where it is asked for.
func runsOn(have, want string) bool {
	return have == want || strings.Count(want, "/") == 1 && strings.HasPrefix(have, want+"/")
}

func (r *Result) reject(rejection Rejection) {
	r.Counts[rejection.Reason]++
	if len(r.Rejected) < MaxRejections {
		r.Rejected = append(r.Rejected, rejection)
	}
}

func (r *Result) miss(tag string) {
	if len(r.Missing) < MaxRejections {
		r.Missing = append(r.Missing, tag)
	}
}
