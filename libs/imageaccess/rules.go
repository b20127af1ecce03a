package imageaccess

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/registry"
)

// Rules are what an installation allows about images, whichever object names them.
type Rules struct {
	// MaxTags bounds the tags that are taken of one image; a listing with more is marked as not complete.
	MaxTags int
	// Include and Exclude are globs of canonical names of images, with * for any part: what is not included, all by default, or
	// is excluded, is not asked about.
	Include, Exclude []string
	// InsecureHosts are the hosts, with * for any part of a name, that may be asked over plain HTTP where an object says insecure; all by
	// default, as in Flux.
	InsecureHosts []string
}

// DefaultRules allow everything.
func DefaultRules() Rules { return Rules{MaxTags: 100_000, InsecureHosts: []string{"*"}} }

// AddFlags defines a flag for each rule.
func (r *Rules) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&r.MaxTags, "max-tags", r.MaxTags, "most tags taken of one image")
	f.StringSliceVar(&r.Include, "registry-include-image", r.Include, "scan only images whose canonical name matches one of these; * for any part, empty for all")
	f.StringSliceVar(&r.Exclude, "registry-exclude-image", r.Exclude, "do not scan images whose canonical name matches one of these; * for any part")
	f.StringSliceVar(&r.InsecureHosts, "insecure-hosts", r.InsecureHosts, "registries that may be asked over plain HTTP where an object says insecure; * for any part of a name, empty for none")
}

// Validate says what is wrong, by flag.
func (r *Rules) Validate() error {
	if r.MaxTags < 1 {
		return fmt.Errorf("--max-tags %d: want at least 1", r.MaxTags)
	}
	for _, pattern := range r.InsecureHosts {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("--insecure-hosts: %q is no pattern", pattern)
		}
	}
	return nil
}

// Scans says whether an image is asked about at all.
func (r *Rules) Scans(i registry.Image) bool {
	return (len(r.Include) == 0 || matches(r.Include, i.String())) && !matches(r.Exclude, i.String())
}

func matches(globs []string, name string) bool {
	for _, glob := range globs {
		expression := "^" + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, ".*") + "$"
		if ok, err := regexp.MatchString(expression, name); err == nil && ok {
			return true
		}
	}
	return false
}

// AllowsInsecure says whether an object may have an image's registry asked over plain HTTP.
func (r *Rules) AllowsInsecure(i registry.Image) bool { return OnHost(r.InsecureHosts, i) }

// OnHost says whether the host of an image matches a pattern.
func OnHost(patterns []string, i registry.Image) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, i.Host()); err == nil && ok {
			return true
		}
	}
	return false
}
