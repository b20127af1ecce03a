package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed example
var example embed.FS

const (
	namespace  = "sluice-demo" // of the custom resources
	source     = "fleet"       // name of the GitRepository, and of its repository
	branch     = "main"
	partOf     = "app.kubernetes.io/part-of"
	partOfDemo = "sluice-demo"
)

// files are the contents of a repository by slash-separated path.
type files map[string]string

// firstFiles are what the example repository holds at first. localize makes of each text the one for here.
func firstFiles(localize func(string) string) (files, error) {
	root, err := fs.Sub(example, "example/repository")
	if err != nil {
		return nil, fmt.Errorf("read the example: %w", err)
	}
	all := files{}
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		all[path] = localize(string(content))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the example: %w", err)
	}
	return all, nil
}

// customResources are what the demo asks of Sluice, in the order to apply them, with url as the address of the repository. localize makes
// of the text the one for here.
func customResources(url string, localize func(string) string) ([]*unstructured.Unstructured, error) {
	text, err := example.ReadFile("example/cluster.yaml")
	if err != nil {
		return nil, fmt.Errorf("read the example: %w", err)
	}
	var all []*unstructured.Unstructured
	for document := range strings.SplitSeq(localize(string(text)), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
			return nil, fmt.Errorf("read the example's custom resources: %w", err)
		}
		u.SetLabels(map[string]string{partOf: partOfDemo})
		if u.GetKind() == "GitRepository" {
			if err := unstructured.SetNestedField(u.Object, url, "spec", "url"); err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	return all, nil
}
