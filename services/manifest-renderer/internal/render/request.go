package render

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
)

// rules is the version of what this package makes of a source. It changes with
// every change, or new version of kustomize, that can change a result.
const rules = 2

// Request is one Kustomization to render.
type Request struct {
	// Name and Namespace of the Kustomization, for the labels of its objects.
	Name, Namespace string
	// Spec is only read. Nil means an empty one.
	Spec *kustomizev1.KustomizationSpec
	// Variables are the values that spec.postBuild.substituteFrom refers to,
	// a later reference over an earlier one. Those in
	// spec.postBuild.substitute go over them.
	Variables map[string]string
	// Decryptor opens what is encrypted, when spec.decryption is set.
	Decryptor *decrypt.Decryptor
	// Remotes are what was fetched for the request: what kustomizations name by address.
	Remotes map[Address]Remote
}

func (r Request) spec() kustomizev1.KustomizationSpec {
	if r.Spec == nil {
		return kustomizev1.KustomizationSpec{}
	}
	return *r.Spec
}

// keys tells the decryption keys from others.
func (r Request) keys() string {
	if r.Decryptor == nil {
		return ""
	}
	return r.Decryptor.Digest()
}

// Fingerprint is a keyed hash of all that a render depends on beside the tree:
// the rules of this version, the renderer's options, and the parts of the
// request that bear on the result, but for what was fetched. With an equal
// fingerprint, an unchanged ReadSet and equal Remotes, so is the result. The key keeps variables from being guessed.
func (r *Renderer) Fingerprint(key []byte, req Request) string {
	s := req.spec()
	bearing := kustomizev1.KustomizationSpec{
		CommonMetadata: s.CommonMetadata, Decryption: s.Decryption, Path: s.Path, PostBuild: s.PostBuild,
		NamePrefix: s.NamePrefix, NameSuffix: s.NameSuffix, Patches: s.Patches, Images: s.Images,
		TargetNamespace: s.TargetNamespace, BuildMetadata: s.BuildMetadata,
		Components: s.Components, IgnoreMissingComponents: s.IgnoreMissingComponents,
	}
	mac := hmac.New(sha256.New, key)
	// Maps are written with sorted keys. Nothing in here fails to marshal.
	if err := json.NewEncoder(mac).Encode([]any{
		rules, r.strict, r.remotes, r.limits, req.Name, req.Namespace, bearing, req.Variables, req.keys(),
	}); err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
