package policy

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// ranked is a tag with what it is ranked by.
type ranked struct {
	tag     Tag
	text    string // the tag, or what was extracted from it
	version *semver.Version
	number  float64
}

// Rank compares two tags by the policy's order: above 0 when a is better. It
// says false when one of them has no rank: it is no version or number, does not
// match the filter, or its build time is not known. Tags outside of the range,
// too young ones and those for other platforms have a rank, so a present image
// that the policy would not choose can still be told from a higher one. Tags of
// different names are never equal.
func (p *Policy) Rank(a, b Tag) (int, bool) {
	ra, reasonA := p.rank(a)
	rb, reasonB := p.rank(b)
	if reasonA != "" || reasonB != "" {
		return 0, false
	}
	return p.compare(ra, rb), true
}

// Unknown says whether a tag has no rank only because it is not known when it was built: a tag that another one must not replace unasked.
func (p *Policy) Unknown(t Tag) bool {
	_, reason := p.rank(t)
	return reason == NoBuildTime || reason == Gone
}

// rank finds what a tag is ranked by, or why it has no rank.
func (p *Policy) rank(t Tag) (ranked, Reason) {
	r := ranked{tag: t, text: t.Name}
	switch {
	case t.Name == "" || len(t.Name) > maxTag:
		return r, Invalid
	case p.spec.SkipLatest && strings.EqualFold(t.Name, "latest"):
		return r, Latest
	case !p.match(t.Name):
		return r, Filtered
	}
	found := p.pattern.FindStringSubmatchIndex(t.Name)
	if len(found) == 0 {
		return r, Filtered
	}
	if p.spec.Extract != "" {
		r.text = string(p.pattern.ExpandString(nil, p.spec.Extract, t.Name, found))
		if len(r.text) > maxExtract {
			return r, Invalid
		}
	}
	return r, p.measure(&r)
}

// measure reads the text as the order wants it.
func (p *Policy) measure(r *ranked) Reason {
	var err error
	switch p.spec.Order {
	case SemVer:
		if r.version, err = version(r.text, p.spec.Loose); err != nil {
			return NotAVersion
		}
	case Numerical:
		r.number, err = strconv.ParseFloat(r.text, 64)
		if err != nil || math.IsNaN(r.number) || math.IsInf(r.number, 0) {
			return NotANumber
		}
	case Newest:
		if r.tag.Gone {
			return Gone
		}
		if r.tag.Created.IsZero() {
			return NoBuildTime
		}
	}
	return ""
}

// version parses a version; without loose it must have three parts.
func version(text string, loose bool) (*semver.Version, error) {
	if !loose && strings.Count(text, ".") < 2 {
		return nil, semver.ErrInvalidSemVer
	}
	return semver.NewVersion(text)
}

// compare is a total order of tags with different names.
func (p *Policy) compare(a, b ranked) int {
	c := 0
	switch p.spec.Order {
	case SemVer:
		c = a.version.Compare(b.version)
		if c == 0 {
			c = cmp.Compare(a.version.Metadata(), b.version.Metadata())
		}
	case Numerical:
		c = cmp.Compare(a.number, b.number)
		if c == 0 {
			c = compareDigits(a.text, b.text)
		}
	case Alphabetical:
		c = cmp.Compare(a.text, b.text)
	case Newest:
		c = a.tag.Created.Compare(b.tag.Created)
	}
	if p.spec.Descending {
		c = -c
	}
	if c == 0 {
		c = cmp.Compare(a.tag.Name, b.tag.Name)
	}
	return c
}

// compareDigits tells whole numbers apart that are too large to be told apart
// as floats, such as time stamps with nanoseconds.
func compareDigits(a, b string) int {
	if !isDigits(a) || !isDigits(b) {
		return 0
	}
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
