package apply

import (
	"strings"
	"testing"
	"unicode/utf8"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// Only the words that are documented keep an object from being applied or pruned.
func FuzzAnnotations(f *testing.F) {
	keys := []string{annotationReconcile, annotationApply, annotationForce, annotationPrune, "fluxcd.io/ignore", "flux.weave.works/ignore", labelOwnerName}
	words := []string{"disabled", "Ignore", "true", "sync_only"}
	for i := range keys {
		for _, word := range append(words, "", "enabled", "Disabled ", "TRUE") {
			f.Add(uint8(i), word, false)
			f.Add(uint8(i), word, true)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string, label bool) {
		set := map[string]string{keys[int(which)%len(keys)]: value}
		p := policyOf(nil, set)
		if label {
			p = policyOf(set, nil)
		}
		known := false
		for _, word := range words {
			known = known || strings.EqualFold(value, word)
		}
		if p.keepsFromPrune() != "" && !known {
			t.Fatalf("%v keeps an object: %s", set, p.keepsFromPrune())
		}
	})
}

// A rule of a spec is refused or does its work on any object, and leaves the kind of object alone.
func FuzzIgnoreRule(f *testing.F) {
	f.Add("/spec/replicas", "", `{"spec":{"replicas":1}}`)
	f.Add("/spec/containers/0/image", "a|b", `{"spec":{"containers":[{"name":"a","image":"b"}]}}`)
	f.Add("/a~1b/~0", "(", `{"a/b":{"~":null}}`)
	f.Add("/spec/-1/", ".*", `{"spec":[1,[2]]}`)
	f.Fuzz(func(t *testing.T, path, name, object string) {
		rules, err := CompileIgnore([]kustomizev1.IgnoreRule{{Paths: []string{path}, Target: &kustomize.Selector{Name: name}}})
		if err != nil {
			return
		}
		var git, live map[string]any
		if json.Unmarshal([]byte(object), &git) != nil || json.Unmarshal([]byte(object), &live) != nil || git == nil || !utf8.ValidString(path) {
			return
		}
		git["kind"] = "Thing"
		for _, p := range ignoredIn(rules, inventory.ID{Name: name}, "v1", nil, nil) {
			p.path(git)
			value, found := p.find(git, live)
			if found {
				p.set(git, deepCopyValue(value))
			}
			p.remove(git)
		}
		if git["kind"] != "Thing" {
			t.Fatalf("%q changes the kind", path)
		}
	})
}
