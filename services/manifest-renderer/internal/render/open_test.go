package render

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt/decrypttest"
)

const hidden = "h1dden-v4lue"

// sealedRequest asks for decryption with a key.
func sealedRequest(t testing.TB, key decrypttest.Key, change func(*kustomizev1.KustomizationSpec)) Request {
	t.Helper()
	keys, err := decrypt.ParseKeys(map[string][]byte{key.Entry: key.Private})
	if err != nil {
		t.Fatal(err)
	}
	spec := kustomizev1.KustomizationSpec{Decryption: &kustomizev1.Decryption{Provider: "sops"}}
	if change != nil {
		change(&spec)
	}
	return Request{Name: "app", Namespace: "team", Spec: &spec, Decryptor: decrypt.New(keys)}
}

func secretManifest(field, value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\n    namespace: a\n" + field + ":\n    password: " + value + "\n"
}

// What is encrypted, wherever Flux decrypts it, is in the result in clear, and the read-set knows the encrypted file.
func TestDecryption(t *testing.T) {
	key := decrypttest.Age(t)
	seal := func(name, plain string) string { return decrypttest.Encrypt(t, name, plain, "", key.Master) }
	data := func(name, plain string) string {
		return decrypttest.Encrypt(t, name, plain, "^(data|stringData)$", key.Master)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(hidden))
	plainSecret := secretManifest("stringData", "x")
	generated := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
	tests := map[string]struct {
		files  source
		change func(*kustomizev1.KustomizationSpec)
		want   string // in the manifests
		reads  string
	}{
		"a plain Secret":  {files: source{"s.yaml": data("s.yaml", secretManifest("stringData", hidden))}, want: `"stringData":{"password":"` + hidden + `"}`, reads: "f s.yaml"},
		"a Secret's data": {files: source{"s.yaml": data("s.yaml", secretManifest("data", encoded))}, want: `"data":{"password":"` + encoded + `"}`, reads: "f s.yaml"},
		"another kind":    {files: source{"s.yaml": data("s.yaml", strings.ReplaceAll(secretManifest("data", hidden), "kind: Secret", "kind: ConfigMap"))}, want: `"data":{"password":"` + hidden + `"}`, reads: "f s.yaml"},
		"a kustomized Secret": {
			files: source{"base/kustomization.yaml": "resources: [s.yaml]\n", "base/s.yaml": data("s.yaml", secretManifest("stringData", hidden)), "kustomization.yaml": "resources: [base]\nnamePrefix: x-\ncommonAnnotations: {a: b}\n"},
			want:  `"name":"x-s"`, reads: "f base/s.yaml",
		},
		"a generated file": {
			files: source{"kustomization.yaml": generated + "secretGenerator: [{name: g, files: [token=token.enc]}]\n", "token.enc": seal("token", hidden)}, want: `"token":"` + encoded + `"`, reads: "f token.enc",
		},
		"a generated YAML file": {
			files: source{"kustomization.yaml": generated + "secretGenerator: [{name: g, files: [a.yaml]}]\n", "a.yaml": seal("a.yaml", "a: "+hidden+"\n")},
			want:  `"a.yaml":"` + base64.StdEncoding.EncodeToString([]byte("a: "+hidden+"\n")) + `"`, reads: "f a.yaml",
		},
		"a Docker configuration": {
			files: source{"kustomization.yaml": generated + "secretGenerator: [{name: g, type: kubernetes.io/dockerconfigjson, files: [.dockerconfigjson=d.enc]}]\n", "d.enc": seal("d.json", `{"auths": {"a": {"auth": "`+hidden+`"}}}`)},
			want:  `".dockerconfigjson":"`, reads: "f d.enc",
		},
		"an env file": {
			files: source{"kustomization.yaml": generated + "secretGenerator: [{name: g, envs: [settings]}]\n", "settings": seal("settings.env", "TOKEN="+hidden+"\n")}, want: `"TOKEN":"` + encoded + `"`, reads: "f settings",
		},
		"in a component": {
			files: source{"kustomization.yaml": generated + "components: [c]\n", "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nsecretGenerator: [{name: g, envs: [settings.env]}]\n",
				"c/settings.env": seal("settings.env", "TOKEN="+hidden+"\n")}, want: `"TOKEN":"` + encoded + `"`, reads: "f c/settings.env",
		},
		"a patch": {
			files: source{"kustomization.yaml": generated + "resources: [s.yaml]\npatches: [{path: p.yaml, target: {kind: Secret}}]\n", "s.yaml": plainSecret,
				"p.yaml": data("p.yaml", secretManifest("stringData", hidden))}, want: `"stringData":{"password":"` + hidden + `"}`, reads: "f p.yaml",
		},
		"before substitution": {
			files: source{"s.yaml": data("s.yaml", secretManifest("stringData", "${v}"+hidden))},
			change: func(s *kustomizev1.KustomizationSpec) {
				s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"v": "val"}}
			},
			want: `"password":"val` + hidden + `"`, reads: "f s.yaml",
		},
		"disabled": {files: source{"s.yaml": strings.Replace(data("s.yaml", secretManifest("stringData", hidden)), "    name: s\n", "    name: s\n    annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}\n", 1)},
			want: `"password":"ENC[`, reads: "f s.yaml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := New(Options{}).Render(t.Context(), tt.files.tree(t), sealedRequest(t, key, tt.change))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(result.Manifests); !strings.Contains(got, tt.want) || strings.Contains(got, `"sops"`) != (name == "disabled") {
				t.Errorf("got %s, want %s in it", got, tt.want)
			}
			if got := reads(t, result.ReadSet); !strings.Contains(got, tt.reads+"\n") || !result.ReadSet.Unchanged(tt.files.tree(t)) {
				t.Errorf("the render read\n%swant %s", got, tt.reads)
			}
		})
	}
}

// Flux's behaviour: what is encrypted is an error in a Secret without spec.decryption, and content like any other elsewhere.
func TestWithoutDecryption(t *testing.T) {
	key := decrypttest.Age(t)
	files := source{"s.yaml": decrypttest.Encrypt(t, "s.yaml", secretManifest("stringData", hidden), "^stringData$", key.Master)}
	if e := files.failure(t, Request{}); e.Object != "Secret/a/s" || !strings.Contains(e.Message, "SOPS encrypted") {
		t.Errorf("got %v", e)
	}
	files = source{"kustomization.yaml": "secretGenerator: [{name: g, envs: [e.env]}]\n", "e.env": decrypttest.Encrypt(t, "e.env", "A="+hidden+"\n", "", key.Master)}
	if result, err := New(Options{}).Render(t.Context(), files.tree(t), Request{}); err != nil || !strings.Contains(string(result.Manifests), "sops_mac") {
		t.Errorf("got %v", err)
	}
}

func TestDecryptionFailures(t *testing.T) {
	key, other := decrypttest.Age(t), decrypttest.Age(t)
	whole := func(master decrypttest.Key) string {
		return decrypttest.Encrypt(t, "s.yaml", secretManifest("stringData", hidden), "^(data|stringData)$", master.Master)
	}
	patch := func(plain string) source {
		return source{"kustomization.yaml": "resources: [s.yaml]\npatches: [{path: p.yaml}]\n", "s.yaml": secretManifest("stringData", "x"),
			"p.yaml": decrypttest.Encrypt(t, "p.yaml", plain, "", key.Master)}
	}
	bad := func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"v": "x"}}
	}
	tests := map[string]struct {
		files  source
		change func(*kustomizev1.KustomizationSpec)
		want   string
	}{
		"another key":          {files: source{"s.yaml": whole(other)}, want: "s.yaml: Secret/a/s: decryption failed: cannot get the data key: age age1"},
		"a changed value":      {files: source{"s.yaml": strings.Replace(whole(key), ",data:", ",data:AAAA", 1)}, want: "was changed"},
		"a patch of nothing":   {files: patch("apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: " + hidden + "\ndata:\n    a: b\n"), want: "no matches"},
		"a patch that is none": {files: patch("a: " + hidden + "\n"), want: "p.yaml"},
		"a bad expression":     {files: source{"s.yaml": decrypttest.Encrypt(t, "s.yaml", secretManifest("stringData", hidden+"${v/}"+hidden), "^stringData$", key.Master)}, change: bad, want: "substitution"},
		"a bomb": {files: source{"kustomization.yaml": "secretGenerator: [{name: g, files: [b.yaml]}]\n",
			"b.yaml": bombOf("a") + "sops:\n    mac: ENC[x]\n"}, want: "aliases expand"},
		"another provider": {files: source{}, change: func(s *kustomizev1.KustomizationSpec) { s.Decryption.Provider = "vault" }, want: `"vault" is not supported`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := tt.files.failure(t, sealedRequest(t, key, tt.change))
			if !strings.Contains(e.Error(), tt.want) || e.Passing {
				t.Errorf("got %v, want %s", e, tt.want)
			}
			if strings.Contains(e.Error(), hidden) {
				t.Errorf("the message has what was encrypted: %s", e)
			}
		})
	}
}

// An inline patch of the spec over an encrypted Secret works, as kustomize has the encrypted object.
func TestDecryptionAfterSpecPatches(t *testing.T) {
	key := decrypttest.PGP(t)
	files := source{"s.yaml": decrypttest.Encrypt(t, "s.yaml", secretManifest("stringData", hidden), "^stringData$", key.Master)}
	result, err := New(Options{}).Render(t.Context(), files.tree(t), sealedRequest(t, key, func(s *kustomizev1.KustomizationSpec) {
		s.Patches = []kustomize.Patch{{Patch: `[{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]`, Target: &kustomize.Selector{Kind: "Secret"}}}
		s.TargetNamespace = "elsewhere"
	}))
	if err != nil || !strings.Contains(string(result.Manifests), hidden) || !strings.Contains(string(result.Manifests), `"namespace":"elsewhere"`) {
		t.Errorf("got %v, %v", result, err)
	}
}

func TestKeysAreInTheFingerprint(t *testing.T) {
	r, a, b := New(Options{}), decrypttest.Age(t), decrypttest.Age(t)
	first := r.Fingerprint([]byte("k"), sealedRequest(t, a, nil))
	if first != r.Fingerprint([]byte("k"), sealedRequest(t, a, nil)) || first == r.Fingerprint([]byte("k"), sealedRequest(t, b, nil)) {
		t.Error("the fingerprint does not follow the keys")
	}
	var e *Error
	if errors.As(error(&Error{Passing: true}), &e) && !e.Passing {
		t.Error("passing is lost")
	}
}
