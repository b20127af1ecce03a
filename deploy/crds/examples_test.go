package crds_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"
)

// example is one manifest of testdata.
type example struct {
	// name is unique among all examples: directory, file and metadata.name.
	name string
	kind string
	// text is the manifest as its author wrote it.
	text string
	// refusal is what the API server must say of it; empty if it is to accept it.
	refusal string
}

// examples reads the manifests in a directory of testdata, with several to a file.
func examples(t *testing.T, dir string) []example {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples in %s: %v", dir, err)
	}
	var list []example
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			list = append(list, parseExample(t, dir+"/"+strings.TrimSuffix(filepath.Base(file), ".yaml"), text))
		}
	}
	return list
}

// parseExample reads what is needed to send the manifest: the API server is the
// one to judge the rest.
func parseExample(t *testing.T, file, text string) example {
	t.Helper()
	var head struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	firstLine, _, _ := strings.Cut(text, "\n")
	refusal, found := strings.CutPrefix(firstLine, "# refused: ")
	if !found {
		refusal = ""
	}
	return example{name: file + "/" + head.Metadata.Name, kind: head.Kind, text: text, refusal: refusal}
}

// TestGoTypesReadTheExamples holds the Go types that the services use against
// the same manifests as the schema.
func TestGoTypesReadTheExamples(t *testing.T) {
	for dir, object := range map[string]func() any{
		"gitrepository":         func() any { return &sourcev1.GitRepository{} },
		"kustomization":         func() any { return &kustomizev1.Kustomization{} },
		"imagerepository":       func() any { return &imagev1.ImageRepository{} },
		"imagepolicy":           func() any { return &imagev1.ImagePolicy{} },
		"imageupdateautomation": func() any { return &automationv1.ImageUpdateAutomation{} },
		"receiver":              func() any { return &receiverv1.Receiver{} },
		"provider":              func() any { return &notifyv1.Provider{} },
		"alert":                 func() any { return &notifyv1.Alert{} },
	} {
		for _, e := range examples(t, dir) {
			if err := yaml.UnmarshalStrict([]byte(e.text), object()); err != nil {
				t.Errorf("%s: %v", e.name, err)
			}
		}
	}
}
