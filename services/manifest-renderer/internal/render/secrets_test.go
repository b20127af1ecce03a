package render

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
)

// What fails near a secret is told without the secret.
func TestErrorsHoldNoSecrets(t *testing.T) {
	const secret = "hunter2-s3cr3t"
	variables := map[string]string{"password": secret, "list": "[" + secret, "map": "{" + secret + ": " + secret + ": x}", "q": `"` + secret}
	postBuild := func(manifest string) (source, Request) {
		return source{"a.yaml": manifest}, Request{Variables: variables, Spec: &kustomizev1.KustomizationSpec{PostBuild: &kustomizev1.PostBuild{}}}
	}
	kustomized := func(kustomization string, files ...string) (source, Request) {
		s := source{"kustomization.yaml": kustomization, "a.yaml": configMap + "data: {a: b}\n",
			"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: " + secret + "}\n"}
		for i := 0; i < len(files); i += 2 {
			s[files[i]] = files[i+1]
		}
		return s, Request{}
	}
	patched := func(patch string, target *kustomize.Selector) (source, Request) {
		s, req := kustomized("resources: [a.yaml, s.yaml]\n")
		req.Spec = &kustomizev1.KustomizationSpec{Patches: []kustomize.Patch{{Patch: patch, Target: target}}}
		return s, req
	}
	secrets := &kustomize.Selector{Kind: "Secret"}
	tests := map[string]func() (source, Request){
		"a list that is none": func() (source, Request) { return postBuild(configMap + "data: {a: '${list}'}\n") },
		"a map that is none":  func() (source, Request) { return postBuild(configMap + "data: {a: '${map}'}\n") },
		"an open quote":       func() (source, Request) { return postBuild(configMap + "data: {a: '${q}'}\n") },
		"as a name":           func() (source, Request) { return postBuild(strings.ReplaceAll(configMap, "name: a", "name: '${q}'")) },
		"as labels": func() (source, Request) {
			return postBuild(strings.ReplaceAll(configMap, "name: a", "name: a, labels: '${list}]'"))
		},
		"bad expression": func() (source, Request) { return postBuild(configMap + "data: {a: '${password', b: '${password/}'}\n") },
		"a literal without key": func() (source, Request) {
			return kustomized("secretGenerator: [{name: a, literals: [" + secret + "]}]\n")
		},
		"a literal with bad key": func() (source, Request) {
			return kustomized("secretGenerator: [{name: a, literals: ['=" + secret + "']}]\n")
		},
		"a type that is none": func() (source, Request) {
			return kustomized("secretGenerator: [{name: a, literals: {a: " + secret + "}}]\n")
		},
		"an env file": func() (source, Request) {
			return kustomized("secretGenerator: [{name: a, envs: [e]}]\n", "e", "A=b\nC=\xff"+secret+"\n")
		},
		"a generated name twice": func() (source, Request) {
			return kustomized("secretGenerator: [{name: a, literals: [a=" + secret + "]}, {name: a, literals: [a=" + secret + "]}]\n")
		},
		"an inline patch of nothing": func() (source, Request) {
			return patched("apiVersion: v1\nkind: Secret\nmetadata: {name: gone}\nstringData: {a: "+secret+"}\n", nil)
		},
		"an inline patch that is none": func() (source, Request) { return patched("stringData: {a: "+secret+"}\n", nil) },
		"a JSON patch that fails": func() (source, Request) {
			return patched(`[{"op": "test", "path": "/stringData/password", "value": "`+secret+`x"}]`, secrets)
		},
		"a JSON patch that is none": func() (source, Request) {
			return patched(`[{"op": "`+"nope"+`", "path": "/stringData/password", "value": "`+secret+`"}]`, secrets)
		},
		"a patch without target": func() (source, Request) { return patched(`[{"op": "add", "path": "/x", "value": "`+secret+`"}]`, nil) },
		"a patch with a value as path": func() (source, Request) {
			return patched(`[{"op": "copy", "from": "/stringData/`+secret+`", "path": "/x/y/z"}, {"op": "add", "path": "/a", "value": "`+secret+`"}]`, secrets)
		},
		"an ambiguous reference": func() (source, Request) {
			return kustomized("resources: [one, two, pod.yaml]\n", renamed("s.yaml", "Secret", "stringData: {password: "+secret+"}\n")...)
		},
		"a Secret without a name": func() (source, Request) {
			return kustomized("resources: [b.yaml]\n", "b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {annotations: {a: "+secret+"}}\nstringData: {password: "+secret+"}\n")
		},
		"a broken Secret": func() (source, Request) {
			return kustomized("resources: [b.yaml]\n", "b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: "+secret+": x}\n")
		},
		"an encrypted Secret": func() (source, Request) {
			return source{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: " + secret + "}\nsops: {mac: " + secret + "}\n"}, Request{}
		},
		"a transformer's config": func() (source, Request) {
			return kustomized("resources: [s.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: a}\n  patch: '{stringData: {a: " + secret + "}}'\n")
		},
		"a replacement's source": func() (source, Request) {
			return kustomized("resources: [s.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.password}, targets: [{select: {kind: Secret}, fieldPaths: [a.b.c]}]}]\n")
		},
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			files, req := input()
			message := files.failure(t, req).Error()
			t.Log(message)
			if strings.Contains(message, secret) || strings.Contains(message, "s3cr3t") || strings.Contains(message, "115 51 99") {
				t.Errorf("the message has the secret: %s", message)
			}
		})
	}
}
