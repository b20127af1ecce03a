package imagecache

import (
	"fmt"
	"regexp"
)

// Exclusions are the regular expressions of tags that an object leaves out.
type Exclusions []*regexp.Regexp

// ParseExclusions reads regular expressions.
func ParseExclusions(patterns []string) (Exclusions, error) {
	e := make(Exclusions, len(patterns))
	for i, p := range patterns {
		var err error
		if e[i], err = regexp.Compile(p); err != nil {
			return nil, fmt.Errorf("exclusion %q: %w", p, err)
		}
	}
	return e, nil
}

// Of returns the tags of a listing that match none of the expressions.
func (e Exclusions) Of(l *Listing) []Tag {
	kept := make([]Tag, 0, len(l.Tags))
	for _, t := range l.Tags {
		if !e.match(t.Name) {
			kept = append(kept, t)
		}
	}
	return kept
}

func (e Exclusions) match(name string) bool {
	for _, m := range e {
		if m.MatchString(name) {
			return true
		}
	}
	return false
}

// Exclude returns the tags that match none of the regular expressions.
func (l *Listing) Exclude(patterns []string) ([]Tag, error) {
	e, err := ParseExclusions(patterns)
	if err != nil {
		return nil, err
	}
	return e.Of(l), nil
}
