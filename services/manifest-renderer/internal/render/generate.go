package render

import (
	"path"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/kustomize"
	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// kustomizationNames are the names of a kustomization file, the first one found
// being the one that counts.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// kustomizationFile reads the kustomization file of the directory; name is empty
// when there is none.
func (b *build) kustomizationFile() (name string, data []byte, err error) {
	for _, base := range kustomizationNames {
		name := path.Join(b.dir, base)
		if b.view.Stat(name) == tree.File {
			data, err := b.view.Read(name)
			return name, data, err
		}
	}
	return "", nil, nil
}

// parseKustomization is strict, as kustomize is: a field that it does not know
// is likely a misspelt one, whose objects would be pruned.
func parseKustomization(name string, data []byte) (*kustypes.Kustomization, error) {
	k := &kustypes.Kustomization{}
	if err := k.Unmarshal(data); err != nil {
		return nil, invalidKustomization(name, data, err)
	}
	if errs := k.EnforceFields(); len(errs) > 0 {
		return nil, failed("invalid kustomization: %s", strings.Join(errs, ", ")).in(name)
	}
	return k, nil
}

// invalidKustomization says where a kustomization file is wrong. The decoder
// names fields and types, never values.
func invalidKustomization(name string, data []byte, err error) *Error {
	if e := checkManifest(data); e != nil {
		return e.in(name)
	}
	if _, message, ok := strings.Cut(err.Error(), "json: "); ok {
		return failed("invalid kustomization: %.300s", message).in(name)
	}
	return failed("invalid kustomization").in(name)
}

// overFiles is the kustomization that stands for plain manifests.
func overFiles(resources []string) *kustypes.Kustomization {
	k := &kustypes.Kustomization{Resources: resources}
	if len(resources) == 0 {
		k.Namespace = "_placeholder" // an empty kustomization is an error
	}
	return k
}

// amend puts what the spec asks for into a kustomization.
func (b *build) amend(k *kustypes.Kustomization) error {
	k.FixKustomization()
	s := b.spec
	if s.TargetNamespace != "" {
		k.Namespace = s.TargetNamespace
	}
	if s.NamePrefix != "" {
		k.NamePrefix = s.NamePrefix
	}
	if s.NameSuffix != "" {
		k.NameSuffix = s.NameSuffix
	}
	for _, p := range s.Patches {
		k.Patches = append(k.Patches, kustypes.Patch{Patch: p.Patch, Target: selector(p.Target)})
	}
	for _, i := range s.Images {
		k.Images = amendImage(k.Images, i)
	}
	if len(s.BuildMetadata) > 0 {
		k.BuildMetadata = nil
		for _, option := range s.BuildMetadata {
			k.BuildMetadata = append(k.BuildMetadata, string(option))
		}
	}
	return b.amendComponents(k)
}

func (b *build) amendComponents(k *kustypes.Kustomization) error {
	for _, c := range b.spec.Components {
		if isRemote(c) || path.IsAbs(c) {
			return failed("component path %.200q must be local and relative", shown(c))
		}
		name, ok := tree.Relative(path.Join(tree.Root, b.dir, c))
		missing := !ok || b.view.Stat(name) == tree.Absent
		if missing && b.spec.IgnoreMissingComponents {
			continue
		}
		k.Components = append(k.Components, c)
	}
	return nil
}

// amendImage merges one image of the spec over the kustomization's entry for
// the same name. Tag and digest choose one version and so are set together.
func amendImage(images []kustypes.Image, i kustomize.Image) []kustypes.Image {
	at := slices.IndexFunc(images, func(k kustypes.Image) bool { return k.Name == i.Name })
	if at < 0 {
		return append(images, kustypes.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	if i.NewName != "" {
		images[at].NewName = i.NewName
	}
	if i.NewTag != "" || i.Digest != "" {
		images[at].NewTag, images[at].Digest = i.NewTag, i.Digest
	}
	return images
}

func selector(s *kustomize.Selector) *kustypes.Selector {
	if s == nil {
		return nil
	}
	out := &kustypes.Selector{LabelSelector: s.LabelSelector, AnnotationSelector: s.AnnotationSelector}
	out.Group, out.Version, out.Kind = s.Group, s.Version, s.Kind
	out.Name, out.Namespace = s.Name, s.Namespace
	return out
}

func marshalKustomization(k *kustypes.Kustomization) ([]byte, error) {
	data, err := yaml.Marshal(k)
	if err != nil {
		return nil, failed("the kustomization cannot be written")
	}
	return data, nil
}
