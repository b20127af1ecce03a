package git

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
)

// maxIgnoreBytes bounds one .sourceignore file.
const maxIgnoreBytes = 1 << 20

// ignoreRules combines the .sourceignore files of the tree and spec.ignore as
// Flux does: where there is any rule at all, it takes the place of the default
// exclusions, but git's own files stay out unless a rule lets them in; rules of
// directories further down win over those further up, and spec.ignore over all.
func ignoreRules(ctx context.Context, found []content, spec *string) (func(string) bool, error) {
	var rules []gitignore.Pattern
	for _, f := range ignoreFiles(found) {
		text, err := f.read(ctx, maxIgnoreBytes)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", f.path, err)
		}
		rules = append(rules, sourceignore.ReadPatterns(bytes.NewReader(text), domain(f.path))...)
	}
	if spec != nil {
		rules = append(rules, sourceignore.ReadPatterns(strings.NewReader(*spec), nil)...)
	}
	matcher := sourceignore.NewDefaultMatcher(nil, nil)
	if len(rules) > 0 {
		matcher = sourceignore.NewMatcher(append(sourceignore.VCSPatterns(nil), rules...))
	}
	return func(name string) bool { return matcher.Match(strings.Split(name, "/"), false) }, nil
}

// ignoreFiles are the .sourceignore files, those further up first.
func ignoreFiles(found []content) []content {
	var files []content
	for _, f := range found {
		if path.Base(f.path) == sourceignore.IgnoreFile {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b content) int {
		return strings.Count(a.path, "/") - strings.Count(b.path, "/")
	})
	return files
}

// domain is the directory of a file, in parts.
func domain(name string) []string {
	parts := strings.Split(name, "/")
	return parts[:len(parts)-1]
}
