package render

import (
	"reflect"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
)

// notOfBuilds are the fields that others than this package act on: which source, when, and how objects are applied.
var notOfBuilds = strings.Fields(`DependsOn Interval RetryInterval KubeConfig Prune DeletionPolicy HealthChecks ServiceAccountName SourceRef Suspend
	Timeout Force Wait HealthCheckExprs Ignore`)

// fields holds for each field of the build side what it makes of the source below, and what only stands there without it.
var fields = map[string]struct {
	set           func(*kustomizev1.KustomizationSpec)
	with, instead string
}{
	"CommonMetadata": {func(s *kustomizev1.KustomizationSpec) {
		s.CommonMetadata = &kustomizev1.CommonMetadata{Labels: map[string]string{"common": "l"}, Annotations: map[string]string{"common": "a"}}
	}, `"annotations":{"common":"a"},"labels":{"common":"l",`, ""},
	"Path":            {func(s *kustomizev1.KustomizationSpec) { s.Path = "./other" }, `"name":"other"`, `"kind":"Deployment"`},
	"NamePrefix":      {func(s *kustomizev1.KustomizationSpec) { s.NamePrefix = "pre-" }, `"name":"pre-web"`, `"name":"web",`},
	"NameSuffix":      {func(s *kustomizev1.KustomizationSpec) { s.NameSuffix = "-post" }, `"name":"web-post"`, ""},
	"TargetNamespace": {func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "target" }, `"namespace":"target"`, `"namespace":"a"`},
	"Patches": {func(s *kustomizev1.KustomizationSpec) {
		s.Patches = []kustomize.Patch{{Patch: `[{"op": "replace", "path": "/spec/replicas", "value": 7}]`, Target: &kustomize.Selector{Kind: "Deployment"}}}
	}, `"replicas":7`, `"replicas":1`},
	"Images": {func(s *kustomizev1.KustomizationSpec) {
		s.Images = []kustomize.Image{{Name: "app", NewName: "new/app", NewTag: "2"}}
	}, `"image":"new/app:2"`, `"image":"app:1"`},
	"Components": {func(s *kustomizev1.KustomizationSpec) { s.Components = []string{"../component"} }, `"from":"component"`, ""},
	"IgnoreMissingComponents": {func(s *kustomizev1.KustomizationSpec) {
		s.Components, s.IgnoreMissingComponents = []string{"../gone", "../component"}, true
	}, `"from":"component"`, ""},
	"BuildMetadata": {func(s *kustomizev1.KustomizationSpec) {
		s.BuildMetadata = []kustomizev1.BuildMetadataOption{kustomizev1.BuildMetadataOriginAnnotations}
	}, `"config.kubernetes.io/origin":"path: web.yaml\n"`, ""},
	"PostBuild": {func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{SubstituteStrategy: kustomizev1.SubstituteStrategyAlways}
	}, `"text":"fallback"`, `"text":"${unset:=fallback}"`},
	"Decryption": {func(s *kustomizev1.KustomizationSpec) { s.Decryption = &kustomizev1.Decryption{Provider: "sops"} }, `"kind":"Deployment"`, ""},
}

var specSource = source{
	"app/web.yaml":                 "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: a}\nspec: {replicas: 1, template: {spec: {containers: [{name: c, image: 'app:1'}]}}}\n",
	"app/text.yaml":                configMap + "data: {text: '${unset:=fallback}'}\n",
	"other/o.yaml":                 strings.ReplaceAll(configMap, "name: a", "name: other"),
	"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {from: component}}]\n",
}

// Every field of a Kustomization's spec is either acted on here, and then shown to be, or named as another's.
func TestEveryFieldOfTheSpec(t *testing.T) {
	for f := range reflect.TypeFor[kustomizev1.KustomizationSpec]().Fields() {
		_, ours := fields[f.Name]
		theirs := strings.Contains(" "+strings.Join(notOfBuilds, " ")+" ", " "+f.Name+" ")
		if ours == theirs {
			t.Errorf("%s: acted on %v, another's %v", f.Name, ours, theirs)
		}
	}
	r := New(Options{})
	manifests := func(set func(*kustomizev1.KustomizationSpec)) string {
		t.Helper()
		spec := kustomizev1.KustomizationSpec{Path: "./app"}
		set(&spec)
		result, err := r.Render(t.Context(), specSource.tree(t), Request{Name: "n", Namespace: "ns", Spec: &spec, Decryptor: decrypt.New(decrypt.Keys{})})
		if err != nil {
			t.Fatal(err)
		}
		return string(result.Manifests)
	}
	none := manifests(func(*kustomizev1.KustomizationSpec) {})
	for name, f := range fields {
		t.Run(name, func(t *testing.T) {
			got := manifests(f.set)
			if !strings.Contains(got, f.with) || f.instead != "" && strings.Contains(got, f.instead) {
				t.Errorf("got %s, want %s instead of %s", got, f.with, f.instead)
			}
			if name != "Decryption" && strings.Contains(none, f.with) || f.instead != "" && !strings.Contains(none, f.instead) {
				t.Errorf("without the field there is already what it should make:\n%s", none)
			}
		})
	}
}

func TestMissingComponent(t *testing.T) {
	for _, component := range []string{"../gone", "../../outside", "https://example.com/c", "/abs"} {
		spec := kustomizev1.KustomizationSpec{Path: "app", Components: []string{component}}
		if e := specSource.failure(t, Request{Spec: &spec}); e.Passing {
			t.Errorf("%s: %v", component, e)
		}
	}
}
