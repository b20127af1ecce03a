package edit

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// release sets every container of automated, unlocked workloads to tag v2.
func release(t *testing.T, name, in string) (string, []Workload, []*Problem) {
	t.Helper()
	f, err := Parse(name, []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	workloads, problems := f.Workloads()
	var all []Replacement
	for _, w := range workloads {
		if !w.Automated || w.Locked {
			continue
		}
		for _, c := range w.Containers {
			ref := imageref.Ref{Name: c.Image.Name, Tag: "v2"}
			if c.Image.Digest != "" {
				ref.Digest = newDigest
			}
			list, err := c.Set(ref)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, list...)
		}
	}
	out, err := f.Apply(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), workloads, problems
}

func TestWorkloads(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations:
    fluxcd.io/automated: "true"   # on
    fluxcd.io/tag.app: semver:~1.0
    filter.fluxcd.io/proxy: 'glob:stg-*'
    flux.weave.works/tag.init: "regexp:^x$"
spec:
  template:
    spec:
      serviceAccountName: puller
      imagePullSecrets: [{name: one}, {name: two}]
      initContainers:
      - {name: init, image: "org/init:v1"}
      containers:
      - name: app
        image: localhost:5000/org/app:v1   # the app
      - image: 'org/proxy:v1@` + oldDigest + `'
        name: proxy
`
	out, workloads, problems := release(t, "web.yaml", deployment)
	if len(problems) > 0 {
		t.Error(problems)
	}
	want := strings.NewReplacer("app:v1 ", "app:v2 ", "init:v1", "init:v2", "proxy:v1@"+oldDigest, "proxy:v2@"+newDigest).Replace(deployment)
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	w := workloads[0]
	if w.ServiceAccount != "puller" || !cmp.Equal(w.PullSecrets, []string{"one", "two"}) || w.Object.String() != "Deployment/shop/web" {
		t.Errorf("%+v", w)
	}
	got := map[string]string{}
	for _, c := range w.Containers {
		got[c.Name] = c.Filter + " " + c.Image.Name
	}
	if diff := cmp.Diff(map[string]string{"app": "semver:~1.0 localhost:5000/org/app", "proxy": "glob:stg-* org/proxy", "init": "regexp:^x$ org/init"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLockedWorkload(t *testing.T) {
	const in = `kind: Pod
metadata:
  name: p
  annotations: {flux.weave.works/automated: "true", fluxcd.io/locked: "true", fluxcd.io/locked_user: "Ann <a@b>", fluxcd.io/locked_msg: "why: so"}
spec: {containers: [{name: a, image: x:v1}]}
`
	out, workloads, _ := release(t, "p.yaml", in)
	w := workloads[0]
	if out != in || !w.Automated || !w.Locked || w.LockedBy != "Ann <a@b>" || w.LockedFor != "why: so" {
		t.Errorf("%+v", w)
	}
}

func TestWorkloadKinds(t *testing.T) {
	pods := "{containers: [{name: a, image: x:v1}]}"
	kinds := map[string]string{
		"DaemonSet": "{template: {spec: " + pods + "}}", "StatefulSet": "{template: {spec: " + pods + "}}",
		"Job": "{template: {spec: " + pods + "}}", "Pod": pods,
		"CronJob": "{jobTemplate: {spec: {template: {spec: " + pods + "}}}}",
	}
	list := "kind: List\nitems:\n"
	for kind, spec := range kinds {
		in := "kind: " + kind + "\nmetadata: {name: n, annotations: {fluxcd.io/automated: 'true'}}\nspec: " + spec + "\n"
		out, _, problems := release(t, "f.yaml", in)
		if want := strings.Replace(in, "x:v1", "x:v2", 1); out != want || len(problems) > 0 {
			t.Errorf("%s: %s %v", kind, out, problems)
		}
		list += "- " + strings.ReplaceAll(strings.TrimSuffix(in, "\n"), "\n", "\n  ") + "\n"
	}
	out, workloads, _ := release(t, "f.yaml", list)
	if want := strings.ReplaceAll(list, "x:v1", "x:v2"); out != want || len(workloads) != len(kinds) {
		t.Errorf("list: %s", cmp.Diff(want, out))
	}
}

func TestHelmReleaseValues(t *testing.T) {
	const in = `apiVersion: helm.fluxcd.io/v1
kind: HelmRelease
metadata:
  name: all
  annotations:
    fluxcd.io/automated: "true"
    filter.fluxcd.io/chart-image: semver:~4.0
    repository.fluxcd.io/sub: deep.down.img
    registry.fluxcd.io/sub: deep.down.reg
    tag.fluxcd.io/sub: deep.down.tag
    filter.fluxcd.io/sub: glob:v*
spec:
  values:
    image: {repository: top/app, tag: v1} # top
    whole:
      image: org/whole:v1
    beside:
      registry: quay.io
      image: org/beside
      tag: 1.9
    map:
      image:
        registry: docker.io
        repository: org/map
        tag: "v1"
        pullPolicy: Always
    only:
      image:
        registry: quay.io
        repository: org/only:v1
    none: {image: {pullPolicy: Always}}
    deep: {down: {reg: r.io, img: org/deep, tag: v1}}
`
	out, workloads, problems := release(t, "hr.yaml", in)
	if len(problems) > 0 {
		t.Error(problems)
	}
	want := strings.NewReplacer("tag: v1", "tag: v2", "whole:v1", "whole:v2", "tag: 1.9", "tag: v2", `tag: "v1"`, `tag: "v2"`, "only:v1", "only:v2").Replace(in)
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, c := range workloads[0].Containers {
		got = append(got, strings.TrimSpace(c.Name+" "+c.Image.String()+" "+c.Filter))
	}
	if diff := cmp.Diff([]string{"chart-image top/app:v1 semver:~4.0", "beside quay.io/org/beside:1.9", "map docker.io/org/map:v1", "only quay.io/org/only:v1", "sub r.io/org/deep:v1 glob:v*", "whole org/whole:v1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKustomizationImages(t *testing.T) {
	const in = `metadata:
  annotations: {fluxcd.io/automated: "true", fluxcd.io/tag.app: "semver:*"}
images:
- name: app
  newName: ghcr.io/org/app # name
  newTag: 1.0
- name: quay.io/x/pinned
  digest: ` + oldDigest + `
`
	out, workloads, problems := release(t, "apps/kustomization.yaml", in)
	if len(problems) > 0 {
		t.Error(problems)
	}
	if want := strings.NewReplacer("1.0", "v2", oldDigest, newDigest).Replace(in); out != want {
		t.Error(cmp.Diff(want, out))
	}
	if c := workloads[0].Containers; c[0].Filter != "semver:*" || c[0].Image.Name != "ghcr.io/org/app" || c[1].Image.Name != "quay.io/x/pinned" {
		t.Errorf("%+v", c)
	}
	const flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a, annotations: {fluxcd.io/automated: 'true'}}\nspec:\n  images:\n  - {name: app, newTag: v1}\n"
	if out, _, _ := release(t, "a.yaml", flux); out != strings.Replace(flux, "v1}", "v2}", 1) {
		t.Error(out)
	}
}

func TestInvalidTargetsAreProblems(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"alias", "kind: Pod\nmetadata: {name: p, annotations: {fluxcd.io/automated: 'true'}}\nx: &i a:v1\nspec:\n  containers:\n  - {name: a, image: *i}\n", "6 InvalidTarget"},
		{"template", "kind: Pod\nmetadata: {name: p, annotations: {fluxcd.io/automated: 'true'}}\nspec:\n  containers:\n  - {name: a, image: 'a:${TAG}'}\n", "5 InvalidTarget"},
		{"not a string", "kind: Pod\nmetadata: {name: p, annotations: {fluxcd.io/automated: true}}\nspec:\n  containers: []\n", "2 InvalidTarget"},
		{"no tag to write", "kind: Kustomization\nmetadata: {annotations: {fluxcd.io/automated: 'true'}}\nimages:\n- {name: a, newName: b}\n", "4 InvalidTarget"},
		{"tag twice", "kind: HelmRelease\nmetadata: {annotations: {fluxcd.io/automated: 'true'}}\nspec:\n  values:\n    image: a:v1\n    tag: v1\n", "5 InvalidTarget"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, _, problems := release(t, "f.yaml", tt.in)
			if out != tt.in || !cmp.Equal(brief(problems), []string{tt.want}) {
				t.Errorf("%v\n%s", problems, out)
			}
			quiet := strings.Replace(tt.in, "automated", "other", 1)
			if _, _, problems := release(t, "f.yaml", quiet); len(problems) > 0 {
				t.Errorf("not automated, and yet: %v", problems)
			}
		})
	}
}

func TestSetRefusesAnotherImage(t *testing.T) {
	f, err := Parse("f.yaml", []byte("kind: Pod\nspec: {containers: [{name: a, image: x:v1}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := f.Workloads()
	for _, ref := range []imageref.Ref{{Name: "y", Tag: "v1"}, {Name: "x", Tag: "a b"}, {Name: "x", Tag: "v1", Digest: "sha256:1"}} {
		if _, err := w[0].Containers[0].Set(ref); err == nil {
			t.Errorf("%v was accepted", ref)
		}
	}
}
