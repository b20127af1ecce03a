//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kustypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
)

// encrypted decrypts the files of a kustomization that Flux decrypts before it
// builds: what Secrets are generated from, and patches.
func (v *vet) encrypted(dir string, k *kustypes.Kustomization) error {
	if v.open == nil || v.view.MountOf(dir) != "" {
		return nil // files of remote bases are not decrypted, as in Flux
	}
	for _, f := range encryptedFiles(k) {
		name, ok := v.file(dir, f.path)
		if !ok {
			continue
		}
		if err := v.open(name, f.format); err != nil {
			return inFile(err, name)
		}
	}
	return nil
}

type encryptedFile struct {
	path   string
	format decrypt.Format // that it is in if it is encrypted
}

func encryptedFiles(k *kustypes.Kustomization) (all []encryptedFile) {
	for _, g := range k.SecretGenerator {
		for _, source := range g.FileSources {
			key, file, found := strings.Cut(source, "=")
			if !found {
				file = source
			}
			all = append(all, encryptedFile{file, decrypt.FormatOf(key)})
		}
		for _, file := range append(slices.Clone(g.EnvSources), g.EnvSource) {
			format := decrypt.FormatOf(file)
			if format == decrypt.Binary {
				format = decrypt.Dotenv
			}
			all = append(all, encryptedFile{file, format})
		}
	}
	for _, p := range k.Patches {
		all = append(all, encryptedFile{p.Path, decrypt.FormatOf(p.Path)})
	}
	return all
}

// openFile decrypts a file if it is encrypted, for all that read it in this build.
func (b *build) openFile(name string, f decrypt.Format) error {
	if _, opened := b.view.Shown(name); opened {
		return nil
	}
	data, err := b.view.Read(name)
	if err != nil || !f.Marks(data) {
		return err
	}
	plain, err := b.open(data, f, f)
	if err != nil {
		return err
	}
	b.view.Show(name, plain)
	return nil
}

func (b *build) decrypts() bool { return b.spec.Decryption != nil && b.req.Decryptor != nil }

// open decrypts data. Its error is an *Error, or that of the build's context.
func (b *build) open(data []byte, in, out decrypt.Format) ([]byte, error) {
	if in == decrypt.YAML {
		if err := checkManifest(data); err != nil {
			return nil, err
		}
	}
	plain, err := b.req.Decryptor.Decrypt(b.ctx, data, in, out)
	if e, ok := errors.AsType[*decrypt.Error](err); ok {
		refused := failed("decryption failed: %s", e.Message)
		refused.Passing = e.Passing
		return nil, refused
	}
	return plain, err
}

func decryptionDisabled(o *unstructured.Unstructured) bool {
	return strings.EqualFold(o.GetAnnotations()[decryptKey], "disabled")
}

// openObject decrypts an object that is encrypted, or the entries of a Secret
// that are. All other objects stay as they are.
func (b *build) openObject(fields map[string]any) (map[string]any, error) {
	o := &unstructured.Unstructured{Object: fields}
	if !b.decrypts() || decryptionDisabled(o) {
		return fields, nil
	}
	if mac, _, _ := unstructured.NestedString(fields, "sops", "mac"); mac != "" {
		return b.openWhole(fields)
	}
	data, isMap := fields["data"].(map[string]any)
	if o.GetKind() != "Secret" || !isMap {
		return fields, nil
	}
	return fields, b.openEntries(data)
}

func (b *build) openWhole(fields map[string]any) (map[string]any, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, failed("the object cannot be written as JSON")
	}
	plain, err := b.open(text, decrypt.JSON, decrypt.JSON)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	if o.UnmarshalJSON(plain) != nil {
		return nil, failed("decryption leaves no valid object")
	}
	b.opened.newIn(fields, o.Object)
	return o.Object, nil
}

// newIn takes for secret what decryption put in the place of something else.
func (s *secretValues) newIn(before, after any) {
	switch after := after.(type) {
	case map[string]any:
		was, _ := before.(map[string]any)
		for key, value := range after {
			s.newIn(was[key], value)
		}
	case []any:
		was, _ := before.([]any)
		for i, value := range after {
			if i < len(was) {
				s.newIn(was[i], value)
			} else {
				s.newIn(nil, value)
			}
		}
	default:
		if before != after {
			s.text(fmt.Sprint(after))
		}
	}
}

// text takes a value for secret, each line of it, and what it is the base64 of.
func (s *secretValues) text(value string) {
	for line := range strings.Lines(value) {
		s.line(strings.TrimSpace(line))
	}
	if plain, err := base64.StdEncoding.DecodeString(value); err == nil {
		for line := range strings.Lines(string(plain)) {
			s.line(strings.TrimSpace(line))
		}
	}
}

// openEntries decrypts the entries of a Secret that are encrypted files.
func (b *build) openEntries(data map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(data)) {
		encoded, _ := data[key].(string)
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue // the cluster's API says what is wrong
		}
		in, encrypted := decrypt.Detect(text)
		if !encrypted {
			continue
		}
		plain, err := b.open(text, in, decrypt.FormatOf(key))
		if err != nil {
			return err
		}
		encoded = base64.StdEncoding.EncodeToString(plain)
		data[key] = encoded
		b.opened.text(encoded)
	}
	return nil
}

// withoutOpened takes out of a message what was decrypted in this build.
func (b *build) withoutOpened(message string) string {
	if !b.decrypts() {
		return message
	}
	s := slices.Clone(b.opened)
	for name, data := range b.view.Files() {
		if _, opened := b.view.Shown(name); opened {
			s.all(data)
		}
	}
	return withoutSecrets(message, slices.DeleteFunc(s, func(v string) bool { return len(v) < minSecret }))
}
