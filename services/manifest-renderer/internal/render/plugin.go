package render

import (
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/resource"
	kustypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// loading are the fields of built-in plugins' configurations that name files.
var loading = []string{"path", "paths", "files", "envs", "env", "targetFilePath"}

// patching are those that hold patches; paths can hold both.
var patching = []string{"patch", "patches", "jsonOp", "paths"}

// plugin looks at one file or directory of plugin configurations.
func (v *vet) plugin(dir, value string) error {
	name, ok := resolve(dir, value)
	if !ok {
		return nil // kustomize cannot read it either
	}
	switch v.view.Stat(name) {
	case tree.File:
		return v.pluginFile(name)
	case tree.Directory:
		return inFile(v.pluginDirectory(name), name)
	}
	return nil
}

func (v *vet) pluginFile(name string) error {
	data, err := v.view.Read(name)
	if err != nil {
		return err
	}
	if err := v.manifest(name); err != nil {
		return err
	}
	resources, err := parseResources(data)
	if err != nil {
		return nil // kustomize fails in the same way
	}
	return inFile(v.pluginConfigs(resources), name)
}

// pluginDirectory allows only directories whose kustomization does nothing but
// list further files: what it changed could not be foreseen here.
func (v *vet) pluginDirectory(dir string) error {
	if v.plugins[dir] {
		return nil
	}
	if v.plugins == nil {
		v.plugins = make(map[string]bool)
	}
	v.plugins[dir] = true
	for _, base := range kustomizationNames {
		name := path.Join(dir, base)
		if v.view.Stat(name) != tree.File {
			continue
		}
		data, err := v.view.Read(name)
		if err != nil {
			return err
		}
		if err := v.pluginList(dir, data); err != nil {
			return inFile(err, name)
		}
	}
	return nil
}

func (v *vet) pluginList(dir string, data []byte) error {
	var k kustypes.Kustomization
	if k.Unmarshal(data) != nil {
		return nil // kustomize fails in the same way
	}
	k.FixKustomization()
	allowed := kustypes.Kustomization{TypeMeta: k.TypeMeta, MetaData: k.MetaData, Resources: k.Resources}
	if !reflect.DeepEqual(k, allowed) {
		return failed("a directory of generators or transformers may only list resources")
	}
	for _, value := range k.Resources {
		if err := v.plugin(dir, value); err != nil {
			return err
		}
	}
	return nil
}

func (v *vet) pluginConfigs(resources []*resource.Resource) error {
	for _, r := range resources {
		gvk := r.GetGvk()
		if gvk.Group != "" || gvk.Version != "builtin" || gvk.Kind == "HelmChartInflationGenerator" {
			return failed("%.100q is no built-in plugin of kustomize, only those are supported", gvk.Kind)
		}
		fields, err := fieldsOf(r)
		if err != nil {
			return err
		}
		if err := v.pluginFields("", fields); err != nil {
			return err
		}
		if err := v.pluginReplacements(fields); err != nil {
			return err
		}
	}
	return nil
}

// pluginFields looks at all text in a plugin's configuration: what names a file
// must not be remote, and what is a patch must not be harmful. The field is the
// innermost named one around value.
func (v *vet) pluginFields(field string, value any) error {
	switch value := value.(type) {
	case string:
		return v.pluginText(field, value)
	case []any:
		for _, item := range value {
			if err := v.pluginFields(field, item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			name := key
			if isOneOf(loading, field) {
				name = field
			}
			if err := v.pluginFields(name, value[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *vet) pluginText(field, text string) error {
	if isOneOf(loading, field) && isRemoteSource(text) {
		return errRemote(text, v.remotes.allowed)
	}
	if !isOneOf(patching, field) {
		return nil
	}
	if err := checkManifest([]byte(text)); err != nil {
		return failed("inline patch: %s", err.Message)
	}
	return nil
}

// isOneOf ignores case, as the decoding of configurations does.
func isOneOf(fields []string, field string) bool {
	return slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, field) })
}
