package edit

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// chartImage is the container name of an image at the top of the values.
const chartImage = "chart-image"

// Annotations that say where in the values the parts of an image are, each
// followed by the container's name; the value is a path of keys with dots.
const (
	registryAt   = "registry.fluxcd.io/"
	repositoryAt = "repository.fluxcd.io/"
	tagAt        = "tag.fluxcd.io/"
)

// release finds the images in the values of a Helm release: at the top, below a
// key of the top, and where annotations say.
func (f *File) release(w *Workload, values *yaml.Node, n notes) []*Problem {
	if values == nil || values.Kind != yaml.MappingNode {
		return nil
	}
	images := map[string]fields{}
	if from, ok := imageFields(values); ok {
		images[chartImage] = from
	}
	for i := 0; i+1 < len(values.Content); i += 2 {
		if from, ok := imageFields(dereference(values.Content[i+1])); ok {
			images[values.Content[i].Value] = from
		}
	}
	for name, from := range mapped(values, n) {
		images[name] = from
	}
	var problems []*Problem
	for _, name := range order(images) {
		problems = f.container(w, problems, name, images[name])
	}
	return problems
}

// order is the top image, then the others by name.
func order(images map[string]fields) []string {
	var names []string
	for name := range images {
		if name != chartImage {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if _, ok := images[chartImage]; ok {
		names = append([]string{chartImage}, names...)
	}
	return names
}

// imageFields understands the usual forms: a string with or without registry
// and tag beside it, and a map with repository, registry and tag.
func imageFields(n *yaml.Node) (fields, bool) {
	image := value(n, "image")
	if image == nil {
		return fields{}, false
	}
	if repository := value(image, "repository"); isScalar(repository) {
		image = dereference(image)
		return fields{whole: repository, registry: scalar(image, "registry"), tag: scalar(image, "tag"), digest: scalar(image, "digest")}, true
	}
	if isScalar(image) && text(dereference(image)) != "" {
		return fields{whole: image, registry: scalar(n, "registry"), tag: scalar(n, "tag")}, true
	}
	return fields{}, false
}

func isScalar(n *yaml.Node) bool {
	n = dereference(n)
	return n != nil && n.Kind == yaml.ScalarNode
}

// scalar is the value of a key where it is a scalar that is not empty.
func scalar(n *yaml.Node, key string) *yaml.Node {
	v := value(n, key)
	if !isScalar(v) || text(dereference(v)) == "" {
		return nil
	}
	return v
}

// mapped are the images whose paths the annotations say.
func mapped(values *yaml.Node, n notes) map[string]fields {
	images := map[string]fields{}
	for key, path := range n {
		name, ok := strings.CutPrefix(key, repositoryAt)
		if !ok {
			continue
		}
		from := fields{whole: at(values, path)}
		if p, ok := n[registryAt+name]; ok {
			from.registry = at(values, p)
		}
		if p, ok := n[tagAt+name]; ok {
			from.tag = at(values, p)
		}
		if isScalar(from.whole) {
			images[name] = from
		}
	}
	return images
}

// at follows a path of keys with dots.
func at(n *yaml.Node, path string) *yaml.Node {
	for _, key := range strings.Split(path, ".") {
		n = value(n, key)
	}
	return n
}
