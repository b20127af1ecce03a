package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// scan lists what a directory without a kustomization stands for, relative to
// it: each .yaml and .yml file below it, at any depth, and each directory that
// has a kustomization file, into which it does not go. JSON is left out, as it
// is in Flux. A directory below that holds a Chart.yaml and a values.yaml is a
// Helm chart, whose templates are no manifests, and is left out too: there Flux
// v1 did the same, and Flux v2 fails.
func (b *build) scan() (found []string, err error) {
	err = b.scanBelow(b.dir, &found)
	return found, err
}

func (b *build) scanBelow(dir string, found *[]string) error {
	names, err := b.view.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		base, isDir := strings.CutSuffix(n, "/")
		name := path.Join(dir, base)
		switch {
		case isDir && b.holdsAny(name, kustomizationNames):
			*found = append(*found, b.below(name))
		case isDir && b.holdsAny(name, []string{"Chart.yaml"}) && b.holdsAny(name, []string{"values.yaml"}):
		case isDir:
			if err := b.scanBelow(name, found); err != nil {
				return err
			}
		case isManifest(base):
			*found = append(*found, b.below(name))
		}
	}
	return nil
}

func (b *build) holdsAny(dir string, files []string) bool {
	return slices.ContainsFunc(files, func(f string) bool {
		return b.view.Stat(path.Join(dir, f)) == tree.File
	})
}

func isManifest(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// below is name relative to the directory that is built, beginning with "./" so
// that no name can be taken for the address of something remote.
func (b *build) below(name string) string {
	if b.dir == "." {
		return "./" + name
	}
	return "./" + strings.TrimPrefix(name, b.dir+"/")
}

// isPlain reports whether what scan found are files alone, and the spec asks for
// none of the changes that kustomize makes.
func (b *build) isPlain(found []string) bool {
	s := b.spec
	unchanged := s.TargetNamespace == "" && s.NamePrefix == "" && s.NameSuffix == "" && len(s.Patches) == 0 &&
		len(s.Images) == 0 && len(s.Components) == 0 && len(s.BuildMetadata) == 0
	return unchanged && !slices.ContainsFunc(found, func(f string) bool { return !isManifest(f) || b.isDir(f) })
}

func (b *build) isDir(found string) bool {
	return b.view.Stat(path.Join(b.dir, found)) == tree.Directory
}

// errNotPlain is the answer to plain files that are written for kustomize.
var errNotPlain = errors.New("the files hold annotations that kustomize acts on")

// readPlain gives for plain files what kustomize makes of a kustomization that
// only lists them, by the same functions but without its transformers, which
// have nothing to do then. Tests hold the two against each other. It takes an
// eighth of the time, and far less for many objects: kustomize compares each
// with each.
func (b *build) readPlain(found []string) ([]*resource.Resource, error) {
	factory := provider.NewDefaultDepProvider().GetResourceFactory()
	b.sources = make(map[string]string)
	var all []*yaml.RNode
	for _, f := range found {
		name := path.Join(b.dir, f)
		data, err := b.view.Read(name)
		if err != nil {
			return nil, err
		}
		if err := b.vet.manifest(name); err != nil {
			return nil, err
		}
		resources, err := factory.SliceFromBytes(data)
		if err != nil {
			if e := diagnose(data); e != nil {
				return nil, e.in(name)
			}
			return nil, failed("%s", b.redact(err.Error())).in(name)
		}
		if err := b.addUnique(name, resources); err != nil {
			return nil, err
		}
		for _, r := range resources {
			all = append(all, &r.RNode)
		}
	}
	kept, err := factory.DropLocalNodes(all)
	if err != nil {
		return nil, fmt.Errorf("drop what is only for kustomize: %w", err)
	}
	return kept, clean(kept)
}

// clean takes out the annotations that kustomize takes out at its end.
func clean(resources []*resource.Resource) error {
	for _, r := range resources {
		if actsOn(r.GetAnnotations()) {
			return errNotPlain
		}
		r.RemoveBuildAnnotations()
		if err := errors.Join(r.SetOrigin(nil), r.ClearTransformations()); err != nil {
			return fmt.Errorf("remove build annotations: %w", err)
		}
	}
	return nil
}

func actsOn(annotations map[string]string) bool {
	return slices.ContainsFunc(resource.BuildAnnotations, func(a string) bool {
		_, has := annotations[a]
		return has
	})
}

// addUnique notes in which file objects are, and refuses one defined twice.
func (b *build) addUnique(name string, resources []*resource.Resource) error {
	for _, r := range resources {
		id := idOf(r)
		if first, ok := b.sources[id]; ok {
			e := failed("defined already in %s", first).in(name)
			e.Object = objectName(r.GetKind(), r.GetNamespace(), r.GetName())
			return e
		}
		b.sources[id] = name
	}
	return nil
}

// idOf is what must be unique for kustomize, which takes no namespace to be the
// one called default.
func idOf(r *resource.Resource) string {
	id := r.CurId()
	return strings.Join([]string{id.Group, id.Version, id.Kind, id.EffectiveNamespace(), id.Name}, "\x00")
}
