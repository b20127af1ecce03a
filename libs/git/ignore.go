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

// The bounds of all ignore rules of a source together: they are kept in memory,
// and every path is held against every rule.
const (
	maxIgnoreBytes = 1 << 20
	maxIgnoreRules = 20_000
	// maxIgnoreLine is the length of the longest line that the parser reads; it would leave out the rest of the file in silence.
	maxIgnoreLine = 64<<10 - 1
)

// ignoreRules combines the .sourceignore files of the tree and spec.ignore as
// Flux does: where there is any rule at all, it takes the place of the default
// exclusions, but git's own files stay out unless a rule lets them in; rules of
// directories further down win over those further up, and spec.ignore over all.
func ignoreRules(ctx context.Context, found []content, spec *string) (func(string) bool, error) {
	r := ruleSet{left: maxIgnoreBytes}
	for _, f := range ignoreFiles(found) {
		text, err := f.read(ctx, r.left)
		if err == nil {
			err = r.add(text, domain(f.path))
		}
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", f.path, err)
		}
	}
	if spec != nil {
		if err := r.add([]byte(*spec), nil); err != nil {
			return nil, fmt.Errorf("read spec.ignore: %w", err)
		}
	}
	rules := r.rules
	matcher := sourceignore.NewDefaultMatcher(nil, nil)
	if len(rules) > 0 {
		matcher = sourceignore.NewMatcher(append(sourceignore.VCSPatterns(nil), rules...))
	}
	return func(name string) bool { return matcher.Match(strings.Split(name, "/"), false) }, nil
}

// ruleSet collects rules within their bounds.
type ruleSet struct {
	rules []gitignore.Pattern
	left  int64 // bytes of files that may still come
}

func (r *ruleSet) add(text []byte, domain []string) error {
	r.left -= int64(len(text))
	lines := 0
	for line := range bytes.Lines(text) {
		if lines++; len(line) > maxIgnoreLine {
			return fmt.Errorf("line %d is %w of %d bytes", lines, ErrTooLarge, maxIgnoreLine)
		}
	}
	if lines > maxIgnoreRules-len(r.rules) {
		return fmt.Errorf("the number of ignore rules is %w of %d", ErrTooLarge, maxIgnoreRules)
	}
	r.rules = append(r.rules, sourceignore.ReadPatterns(bytes.NewReader(text), domain)...)
	return nil
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
