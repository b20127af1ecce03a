//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
	kustypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// vet judges every kustomization file at the moment kustomize reads it, and
// with it the files that it names, before kustomize acts on either.
//
// Kustomize's loader fetches whatever looks to it like a URL or a repository,
// by HTTP or by running git, and cannot be told not to. All it ever loads are
// entries of kustomization files and of the configurations of its built-in
// plugins, so those are what is looked at here: what is remote is fetched before
// the build, and replaced by where it is in the build. Some input makes kustomize
// recurse without end or exit, which no recover catches; that is refused too.
type vet struct {
	view      *tree.View
	limits    Limits
	ownSchema bool

	kustomizations int             // read so far
	invalid        *Error          // about a kustomization file that cannot be parsed
	loader         string          // the directory that plugins load files from
	plugins        map[string]bool // directories of plugin configurations seen
	manifestNames  []string        // of the files named as resources
	growth         growth
	remotes        remotes
	// open decrypts a file that is encrypted in the format, for all who read it;
	// nil when nothing is decrypted.
	open func(name string, f decrypt.Format) error
}

// onRead returns what kustomize gets to see of a file.
func (v *vet) onRead(name string, data []byte) ([]byte, error) {
	if err := v.growth.file(data); err != nil {
		return nil, err
	}
	if !slices.Contains(kustomizationNames, path.Base(name)) {
		return data, nil
	}
	if v.kustomizations++; v.kustomizations > v.limits.Kustomizations {
		return nil, failed("the build reads more than %d kustomization files: one may include itself", v.limits.Kustomizations)
	}
	var k kustypes.Kustomization
	if err := k.Unmarshal(data); err != nil {
		// Kustomize reads it with the same function, and fails too. Unless it
		// is only data that has this name by chance.
		v.invalid = invalidKustomization(name, data, err)
		return data, nil
	}
	localized, err := v.remotes.localize(path.Dir(name), &k)
	if err == nil {
		err = v.kustomization(path.Dir(name), &k)
	}
	if err != nil {
		return nil, inFile(err, name)
	}
	if localized {
		return marshalKustomization(&k)
	}
	return data, nil
}

// inFile names the file that an error without one is about.
func inFile(err error, name string) error {
	if e, ok := err.(*Error); ok && e.File == "" {
		e.File = name
	}
	return err
}

func (v *vet) kustomization(dir string, k *kustypes.Kustomization) error {
	if len(k.HelmCharts) > 0 || len(k.HelmChartInflationGenerator) > 0 || k.HelmGlobals != nil {
		return failed("helm charts in a kustomization are not supported")
	}
	if len(k.OpenAPI) > 0 && !v.ownSchema {
		return errNeedsSchema
	}
	for _, f := range []func(string, *kustypes.Kustomization) error{
		v.encrypted, v.manifests, v.patches, v.definitions, v.allPlugins, v.replacements,
	} {
		if err := f(dir, k); err != nil {
			return err
		}
	}
	return nil
}

func sources(g kustypes.GeneratorArgs) []string {
	return slices.Concat(g.FileSources, g.EnvSources, []string{g.EnvSource})
}

// manifests looks at the files that become objects.
func (v *vet) manifests(dir string, k *kustypes.Kustomization) error {
	for _, value := range slices.Concat(k.Resources, k.Bases) {
		if name, ok := v.file(dir, value); ok {
			v.manifestNames = append(v.manifestNames, name)
			if err := v.manifest(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// patches looks at patches, in files and inline, which become parts of objects.
func (v *vet) patches(dir string, k *kustypes.Kustomization) error {
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		if err := v.pathOrText(dir, p.Path, p.Patch); err != nil {
			return err
		}
	}
	for _, p := range k.PatchesStrategicMerge {
		file := string(p)
		if _, err := parseResources([]byte(p)); err == nil {
			file = "" // it is a patch
		}
		if err := v.pathOrText(dir, file, string(p)); err != nil {
			return err
		}
	}
	return nil
}

// parseResources is how kustomize parses objects, patches and plugins.
func parseResources(data []byte) ([]*resource.Resource, error) {
	return provider.NewDefaultDepProvider().GetResourceFactory().SliceFromBytes(data)
}

func (v *vet) pathOrText(dir, file, text string) error {
	if name, ok := v.file(dir, file); ok {
		return v.manifest(name)
	}
	if err := checkManifest([]byte(text)); err != nil {
		return failed("inline patch: %s", err.Message)
	}
	return nil
}

// manifest checks a file that kustomize parses as objects or patches. A file is
// parsed for that once for each revision, not once for each render.
func (v *vet) manifest(name string) error {
	err := v.view.Check(name, func(data []byte) error {
		if e := checkManifest(data); e != nil {
			return e
		}
		return nil
	})
	if e, ok := err.(*Error); ok {
		copied := *e // it is shared
		return copied.in(name)
	}
	return err
}

// file resolves value as kustomize does, and reads it if it is a file.
func (v *vet) file(dir, value string) (name string, ok bool) {
	name, ok = resolve(dir, value)
	if !ok || value == "" || v.view.Stat(name) != tree.File {
		return "", false
	}
	_, err := v.view.Read(name)
	return name, err == nil
}

// resolve is where an entry of a kustomization in dir leads to.
func resolve(dir, value string) (name string, ok bool) {
	if path.IsAbs(value) {
		return tree.Relative(value)
	}
	return tree.Relative(path.Join(tree.Root, dir, value))
}

// allPlugins looks at what generators, transformers and validators load.
func (v *vet) allPlugins(dir string, k *kustypes.Kustomization) error {
	v.loader = dir
	for _, value := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
		resources, err := parseResources([]byte(value))
		if err == nil {
			if err := checkManifest([]byte(value)); err != nil {
				return err
			}
			err := v.pluginConfigs(resources)
			if err != nil {
				return err
			}
			continue
		}
		if err := v.plugin(dir, value); err != nil {
			return err
		}
	}
	return nil
}
