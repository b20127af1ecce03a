// Package imageref holds the one type for references to container images that
// image-updater passes around, and the grammar that everything must satisfy
// before it is written anywhere. It knows nothing of registries.
package imageref

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrInvalid is in every error about text that is not an image reference.
var ErrInvalid = errors.New("invalid image reference")

// maxName is the longest name, registry included, that registries accept.
const maxName = 255

// The grammar of the distribution specification. No character in it means
// anything in a quoted YAML scalar, which is what makes edits safe.
const (
	domainLabel = `(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])`
	domain      = `(?:` + domainLabel + `(?:\.` + domainLabel + `)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?`
	component   = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	path        = component + `(?:/` + component + `)*`
	tag         = `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
	digest      = `sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}`
)

var (
	namePattern   = regexp.MustCompile(`\A(?:` + domain + `/)?` + path + `\z`)
	domainPattern = regexp.MustCompile(`\A` + domain + `\z`)
	tagPattern    = regexp.MustCompile(`\A` + tag + `\z`)
	digestPattern = regexp.MustCompile(`\A(?:` + digest + `)\z`)
)

// Ref is an image: its name as its user wrote it (no registry is added), and a
// tag, a digest or both.
type Ref struct {
	Name   string
	Tag    string
	Digest string
}

// Parse takes a reference apart; tag and digest may be missing.
func Parse(s string) (Ref, error) {
	var r Ref
	r.Name = s
	if name, d, found := strings.Cut(r.Name, "@"); found {
		if d == "" {
			return Ref{}, fmt.Errorf("%w %q: empty digest", ErrInvalid, clip(s))
		}
		r.Name, r.Digest = name, d
	}
	if i := strings.LastIndexByte(r.Name, ':'); i > strings.LastIndexByte(r.Name, '/') {
		r.Name, r.Tag = r.Name[:i], r.Name[i+1:]
		if r.Tag == "" {
			return Ref{}, fmt.Errorf("%w %q: empty tag", ErrInvalid, clip(s))
		}
	}
	if err := r.Validate(); err != nil {
		return Ref{}, err
	}
	return r, nil
}

// Validate checks every part that is there; the name must be.
func (r Ref) Validate() error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	if r.Tag != "" {
		if err := CheckTag(r.Tag); err != nil {
			return err
		}
	}
	if r.Digest != "" {
		return CheckDigest(r.Digest)
	}
	return nil
}

// String is the reference as it stands in a manifest: name[:tag][@digest].
func (r Ref) String() string {
	s := r.Name
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// CheckName says why s is not the name of an image repository.
func CheckName(s string) error {
	if len(s) > maxName || !namePattern.MatchString(s) {
		return fmt.Errorf("%w: %q is not an image name", ErrInvalid, clip(s))
	}
	return nil
}

// CheckRegistry says why s is not the host of a registry.
func CheckRegistry(s string) error {
	if len(s) > maxName || !domainPattern.MatchString(s) {
		return fmt.Errorf("%w: %q is not a registry host", ErrInvalid, clip(s))
	}
	return nil
}

// CheckTag says why s is not a tag.
func CheckTag(s string) error {
	if !tagPattern.MatchString(s) {
		return fmt.Errorf("%w: %q is not a tag", ErrInvalid, clip(s))
	}
	return nil
}

// CheckDigest says why s is not a digest of a known kind.
func CheckDigest(s string) error {
	if !digestPattern.MatchString(s) {
		return fmt.Errorf("%w: %q is not a digest", ErrInvalid, clip(s))
	}
	return nil
}

// clip keeps what strangers wrote short in errors.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
