//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	kustypes "sigs.k8s.io/kustomize/api/types"
)

// nothing is the form of references that may lead to nothing remote: configurations of plugins, which are looked at before they are read.
const nothing Form = -1

// eachReference visits all values of k that kustomize loads, or tries to. What visit makes of a value stays.
func eachReference(k *kustypes.Kustomization, visit func(field string, form Form, value *string) error) error {
	for _, list := range []struct {
		field  string
		form   Form
		values []string
	}{
		{"resources", FileOrDirectory, k.Resources}, {"bases", FileOrDirectory, k.Bases}, {"components", OnlyDirectory, k.Components},
		{"crds", OnlyFile, k.Crds}, {"configurations", OnlyFile, k.Configurations},
		{"generators", nothing, k.Generators}, {"transformers", nothing, k.Transformers}, {"validators", nothing, k.Validators},
	} {
		for i := range list.values {
			if err := visit(list.field, list.form, &list.values[i]); err != nil {
				return err
			}
		}
	}
	if err := schemaReference(k, visit); err != nil {
		return err
	}
	if err := patchReferences(k, visit); err != nil {
		return err
	}
	for i := range k.ConfigMapGenerator {
		if err := sourceReferences("configMapGenerator", &k.ConfigMapGenerator[i].GeneratorArgs, visit); err != nil {
			return err
		}
	}
	for i := range k.SecretGenerator {
		if err := sourceReferences("secretGenerator", &k.SecretGenerator[i].GeneratorArgs, visit); err != nil {
			return err
		}
	}
	return nil
}

func schemaReference(k *kustypes.Kustomization, visit func(string, Form, *string) error) error {
	schema, ok := k.OpenAPI["path"]
	if !ok {
		return nil
	}
	if err := visit("openapi", OnlyFile, &schema); err != nil {
		return err
	}
	k.OpenAPI["path"] = schema
	return nil
}

func patchReferences(k *kustypes.Kustomization, visit func(string, Form, *string) error) error {
	for _, patches := range [][]kustypes.Patch{k.Patches, k.PatchesJson6902} {
		for i := range patches {
			if err := visit("patches", OnlyFile, &patches[i].Path); err != nil {
				return err
			}
		}
	}
	for i := range k.PatchesStrategicMerge {
		if err := visit("patchesStrategicMerge", OnlyFile, (*string)(&k.PatchesStrategicMerge[i])); err != nil {
			return err
		}
	}
	for i := range k.Replacements {
		if err := visit("replacements", OnlyFile, &k.Replacements[i].Path); err != nil {
			return err
		}
	}
	return nil
}

func sourceReferences(field string, g *kustypes.GeneratorArgs, visit func(string, Form, *string) error) error {
	for _, sources := range [][]string{g.FileSources, g.EnvSources} {
		for i := range sources {
			if err := visit(field, OnlyFile, &sources[i]); err != nil {
				return err
			}
		}
	}
	return visit(field, OnlyFile, &g.EnvSource)
}
