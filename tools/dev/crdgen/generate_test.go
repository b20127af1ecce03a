package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// deployDir is the module that chooses the version of the API types.
var deployDir = filepath.Join("..", "..", "..", "deploy")

func TestGenerateTakesNoForeignSentence(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.Kind, func(t *testing.T) {
			def, err := generate(deployDir, k)
			if err != nil {
				t.Fatal(err)
			}
			data, err := marshal(def, k.Package)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "description:") {
				t.Error("the schema of the API types still holds descriptions")
			}
			if got := len(def.Spec.Versions); got != 1 {
				t.Errorf("got %d versions, want 1", got)
			}
		})
	}
}

func TestGenerateNamesWhatIsMissing(t *testing.T) {
	tests := map[string]struct {
		change func(*kind)
		want   string
	}{
		"no such kind":    {func(k *kind) { k.Kind = "SubversionRepository" }, "holds no kind SubversionRepository"},
		"no such package": {func(k *kind) { k.Package += "/none" }, k8sLoadError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := kinds[0]
			test.change(&k)
			_, err := generate(deployDir, k)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

// k8sLoadError is what the package loader says of a package that nobody provides.
const k8sLoadError = "no required module provides package"
