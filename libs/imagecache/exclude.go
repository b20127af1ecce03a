package imagecache

import (
	"fmt"
	"regexp"
)

// Exclude returns the tags that match none of the regular expressions.
func (l *Listing) Exclude(patterns []string) ([]Tag, error) {
	matchers := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		var err error
		if matchers[i], err = regexp.Compile(p); err != nil {
			return nil, fmt.Errorf("exclusion %q: %w", p, err)
		}
	}
	var kept []Tag
	for _, t := range l.Tags {
		if !matchesAny(matchers, t.Name) {
			kept = append(kept, t)
		}
	}
	return kept, nil
}

func matchesAny(matchers []*regexp.Regexp, name string) bool {
	for _, m := range matchers {
		if m.MatchString(name) {
			return true
		}
	}
	return false
}
