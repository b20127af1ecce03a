package handler

import (
	"path"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/registry-scanner/internal/config"
)

// Settings are what the installation allows.
type Settings struct {
	maxTags          int
	include, exclude []*regexp.Regexp
	insecure         []string
}

// NewSettings reads the settings.
func NewSettings(c config.Config) *Settings {
	return &Settings{maxTags: c.MaxTags, include: globs(c.Include), exclude: globs(c.Exclude), insecure: c.InsecureHosts}
}

// globs makes expressions of patterns in which * is any part of a name, slashes too.
func globs(patterns []string) []*regexp.Regexp {
	list := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		list[i] = regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*") + "$")
	}
	return list
}

func (s *Settings) scans(i registry.Image) bool {
	return (len(s.include) == 0 || matches(s.include, i.String())) && !matches(s.exclude, i.String())
}

func matches(list []*regexp.Regexp, name string) bool {
	for _, r := range list {
		if r.MatchString(name) {
			return true
		}
	}
	return false
}

func (s *Settings) allowsInsecure(i registry.Image) bool {
	for _, p := range s.insecure {
		if ok, err := path.Match(p, i.Host()); err == nil && ok {
			return true
		}
	}
	return false
}
