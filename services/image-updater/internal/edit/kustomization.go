package edit

import (
	"errors"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// kustomizeImages is the list of images of a kustomization file, or of Flux's
// resource of that kind, or nil.
func (f *File) kustomizeImages(n *yaml.Node) *yaml.Node {
	o := objectOf(n)
	switch {
	case o.Kind == "Kustomization" && strings.HasPrefix(o.APIVersion, "kustomize.toolkit.fluxcd.io/"):
		return field(field(n, "spec"), "images")
	case o.Kind == "Kustomization", o.Kind == "Component", o.Kind == "" && isKustomization(f.Name):
		return field(n, "images")
	}
	return nil
}

func isKustomization(name string) bool {
	switch path.Base(name) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return true
	}
	return false
}

// kustomization lists the images of a kustomization. A container is called like
// the last part of its image's name, for a whole one fits in no annotation.
func (f *File) kustomization(w *Workload, images *yaml.Node) []*Problem {
	var problems []*Problem
	seen := map[string]int{}
	for _, entry := range content(images) {
		seen[path.Base(text(field(entry, "name")))]++
	}
	for _, entry := range content(images) {
		entry = dereference(entry)
		name := path.Base(text(field(entry, "name")))
		if seen[name] > 1 {
			problems = append(problems, f.problem(f.outerLine(entry.Line), InvalidTarget, "several images of the kustomization end in %q; an annotation cannot tell them apart", name))
			continue
		}
		from, err := entryFields(entry)
		if err != nil {
			problems = append(problems, f.problem(f.outerLine(entry.Line), InvalidTarget, "image %q: %v", name, err))
			continue
		}
		problems = f.container(w, problems, name, from)
	}
	return problems
}

// entryFields are the fields of an entry of images. The name stays as it is.
func entryFields(entry *yaml.Node) (fields, error) {
	from := fields{name: text(field(entry, "newName")), tag: scalar(entry, "newTag"), digest: scalar(entry, "digest")}
	if from.name == "" {
		from.name = text(field(entry, "name"))
	}
	if from.tag == nil && from.digest == nil {
		return fields{}, errors.New("it has neither newTag nor digest to replace")
	}
	return from, nil
}
