package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

func (p *Policy) compileOrder() (err error) {
	switch p.spec.Order {
	case SemVer:
		if p.spec.Range == "" {
			return nil
		}
		p.constraint, err = constraint(p.spec.Range)
		return err
	case Numerical, Alphabetical, Newest:
		return nil
	}
	return fmt.Errorf("no order is called %.50q", p.spec.Order)
}

func constraint(versions string) (*semver.Constraints, error) {
	if len(versions) > maxPattern {
		return nil, fmt.Errorf("range of versions has more than %d bytes", maxPattern)
	}
	c, err := semver.NewConstraint(versions)
	if err != nil {
		return nil, fmt.Errorf("range of versions %q: %w", versions, err)
	}
	return c, nil
}

func (p *Policy) compilePattern() (err error) {
	if len(p.spec.Extract) > maxPattern {
		return fmt.Errorf("extract has more than %d bytes", maxPattern)
	}
	p.pattern, err = expression(p.spec.Pattern)
	return err
}

func expression(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("regular expression has more than %d bytes", maxPattern)
	}
	e, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	return e, nil
}

func (p *Policy) compileMatch() error {
	kind, pattern, found := strings.Cut(p.spec.Match, ":")
	switch {
	case p.spec.Match == "":
		p.match = func(string) bool { return true }
	case found && kind == "glob":
		if len(pattern) > maxPattern {
			return fmt.Errorf("glob has more than %d bytes", maxPattern)
		}
		p.match = func(tag string) bool { return glob(pattern, tag) }
	case found && (kind == "regex" || kind == "regexp"):
		e, err := expression(pattern)
		if err != nil {
			return err
		}
		p.match = e.MatchString
	case found && kind == "semver":
		c, err := constraint(pattern)
		if err != nil {
			return err
		}
		p.match = func(tag string) bool {
			v, err := semver.NewVersion(tag)
			return err == nil && c.Check(v)
		}
	default:
		return fmt.Errorf("filter of tags is %.100q; it must begin with one of glob:, regex: and semver: to say its kind", p.spec.Match)
	}
	return nil
}

var platformPattern = regexp.MustCompile(`\A[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?\z`)

func (p *Policy) checkGates() error {
	if p.spec.Platform != "" && !platformPattern.MatchString(p.spec.Platform) {
		return fmt.Errorf("platform is %.50q; it must be like linux/amd64", p.spec.Platform)
	}
	if p.spec.MinAge < 0 {
		return fmt.Errorf("minimum age %s is below nothing", p.spec.MinAge)
	}
	return nil
}

// glob says whether the pattern, in which a star stands for anything, matches
// the whole text. Its time is at most the product of the two lengths.
func glob(pattern, text string) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p, t = p+1, t+1
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
