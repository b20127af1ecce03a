//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// maxGrowth bounds, in bytes, what replacements and vars can blow up a file to.
const maxGrowth = 512 << 20

// growth bounds what a few lines of replacements or vars can make of the
// objects. A replacement that writes into what a replacement reads can double
// it, so a list of them is exponential; a var can stand at any number of places.
type growth struct {
	largest          int // bytes of the largest file read
	references       int // places where a var may be put in
	vars             bool
	sources, targets []string // field paths of replacements, ending in a dot
}

func (g *growth) file(data []byte) error {
	g.largest = max(g.largest, len(data))
	g.references += bytes.Count(data, []byte("$("))
	return g.check()
}

func (g *growth) check() error {
	if g.vars && g.references*g.largest > maxGrowth {
		return failed("vars can expand to too much")
	}
	if n := g.feedback(); n > 0 && (n > 30 || g.largest<<n > maxGrowth) {
		return failed("replacements that write into what others read can expand to too much")
	}
	return nil
}

// feedback counts the targets that are at or below the source of a replacement.
func (g *growth) feedback() (n int) {
	for _, target := range g.targets {
		if slices.ContainsFunc(g.sources, func(source string) bool { return isBelow(target, source) }) {
			n++
		}
	}
	return n
}

// isBelow compares field paths part by part; a part with a star or a selector
// may be any.
func isBelow(target, source string) bool {
	t, s := fieldParts(target), fieldParts(source)
	if len(t) < len(s) {
		return false
	}
	for i, part := range s {
		if part != t[i] && !strings.ContainsAny(part+t[i], "*[=") {
			return false
		}
	}
	return true
}

func fieldParts(path string) []string {
	return strings.Split(strings.ReplaceAll(path, `\.`, "_"), ".")
}

func (g *growth) replacement(r kustypes.Replacement) {
	source := "metadata.name"
	if r.Source != nil && r.Source.FieldPath != "" {
		source = r.Source.FieldPath
	}
	g.sources = append(g.sources, source)
	for _, t := range r.Targets {
		if t != nil && len(t.FieldPaths) == 0 {
			g.targets = append(g.targets, "metadata.name")
		} else if t != nil {
			g.targets = append(g.targets, t.FieldPaths...)
		}
	}
}

// replacements takes note of the vars and replacements of a kustomization.
func (v *vet) replacements(dir string, k *kustypes.Kustomization) error {
	v.growth.vars = v.growth.vars || len(k.Vars) > 0
	for _, r := range k.Replacements {
		v.growth.replacement(r.Replacement)
		name, ok := v.file(dir, r.Path)
		if !ok {
			continue
		}
		data, err := v.view.Read(name)
		if err != nil {
			return err
		}
		v.growth.listed(data)
	}
	return v.growth.check()
}

// listed takes note of the replacements in a file, which holds one or a list.
func (g *growth) listed(data []byte) {
	var many []kustypes.Replacement
	if yaml.Unmarshal(data, &many) != nil {
		many = make([]kustypes.Replacement, 1)
		if yaml.Unmarshal(data, &many[0]) != nil {
			return // kustomize cannot read it either
		}
	}
	for _, r := range many {
		g.replacement(r)
	}
}

// pluginReplacements takes note of those in a ReplacementTransformer.
func (v *vet) pluginReplacements(fields map[string]any) error {
	var config struct {
		Replacements []kustypes.ReplacementField `json:"replacements"`
	}
	text, err := json.Marshal(fields)
	if err != nil || json.Unmarshal(text, &config) != nil {
		return nil // kustomize cannot read it either
	}
	return v.replacements(v.loader, &kustypes.Kustomization{Replacements: config.Replacements})
}
