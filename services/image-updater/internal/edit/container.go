package edit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// Container is one image of a workload and where the file says which it is.
type Container struct {
	Name   string
	Filter string       // as the annotation says: semver:~1, glob:v*, regex:…; empty without one
	Image  imageref.Ref // at present; a registry that is written apart is part of the name

	whole, tag, digest *Place // those that there are
}

// fields are the nodes that together say an image.
type fields struct {
	name                         string // a name that is written elsewhere
	registry, whole, tag, digest *yaml.Node
}

// Places are the places that Set may change.
func (c Container) Places() []Place {
	var all []Place
	for _, p := range []*Place{c.whole, c.tag, c.digest} {
		if p != nil {
			all = append(all, *p)
		}
	}
	return all
}

// Set makes the container run another tag or digest of its image. Values that
// are so already need no replacement; there may be none.
func (c Container) Set(ref imageref.Ref) ([]Replacement, error) {
	if err := ref.Validate(); err != nil {
		return nil, err
	}
	if ref.Name != c.Image.Name {
		return nil, fmt.Errorf("%w: container %s runs %s, not %s", imageref.ErrInvalid, c.Name, c.Image.Name, ref.Name)
	}
	var list []Replacement
	add := func(p *Place, value string) {
		if p.Value != value {
			list = append(list, Replacement{Place: *p, Value: value})
		}
	}
	switch {
	case c.tag != nil && ref.Tag == "", c.digest != nil && ref.Digest == "":
		return nil, fmt.Errorf("%w: container %s is written with tag and digest apart, and one of them is not known", imageref.ErrInvalid, c.Name)
	case c.tag == nil && c.digest == nil:
		present, err := imageref.Parse(c.whole.Value)
		if err != nil {
			return nil, err
		}
		add(c.whole, imageref.Ref{Name: present.Name, Tag: ref.Tag, Digest: ref.Digest}.String())
	}
	if c.tag != nil {
		add(c.tag, ref.Tag)
	}
	if c.digest != nil {
		add(c.digest, ref.Digest)
	}
	return list, nil
}

// container adds one image to the workload, or says why it cannot.
func (f *File) container(w *Workload, problems []*Problem, name string, from fields) []*Problem {
	c, err := f.read(name, from)
	if err != nil {
		line := w.Line
		if from.whole != nil {
			line = f.outerLine(from.whole.Line)
		}
		return append(problems, f.problem(line, InvalidTarget, "container %q of %s: %v", name, w.Object, err))
	}
	w.Containers = append(w.Containers, c)
	return problems
}

func (f *File) read(name string, from fields) (Container, error) {
	c := Container{Name: name}
	var err error
	if c.whole, err = f.placeOf(from.whole, Image); err != nil {
		return c, err
	}
	if c.tag, err = f.placeOf(from.tag, Tag); err != nil {
		return c, err
	}
	if c.digest, err = f.placeOf(from.digest, Digest); err != nil {
		return c, err
	}
	full := from.name
	if c.whole != nil {
		full = c.whole.Value
	}
	if from.registry != nil {
		full = strings.TrimSuffix(text(dereference(from.registry)), "/") + "/" + full
	}
	if c.Image, err = imageref.Parse(full); err != nil {
		return c, err
	}
	if c.tag != nil && c.whole != nil && c.Image.Tag != "" {
		return c, fmt.Errorf("tag is said twice, in %s and in %s", c.whole.Path, c.tag.Path)
	}
	if c.tag != nil {
		c.Image.Tag = c.tag.Value
	}
	if c.digest != nil {
		c.Image.Digest = c.digest.Value
	}
	return c, c.Image.Validate()
}

// placeOf is where a node stands in the file; no node has no place.
func (f *File) placeOf(n *yaml.Node, part Part) (*Place, error) {
	if n == nil {
		return nil, nil
	}
	i, ok := f.byNode[n]
	switch {
	case n.Kind == yaml.AliasNode:
		return nil, fmt.Errorf("image is an alias (*%.50s); write it out, or use a marker at the anchor", n.Value)
	case !ok || !f.hasText(i):
		return nil, fmt.Errorf("there is no %s to replace", part)
	}
	p := f.place(i, part)
	return &p, nil
}
