package edit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// Part is which part of an image a place holds.
type Part string

const (
	// Image is a whole reference, name:tag[@digest].
	Image Part = "image"
	// Name is the name of the image repository.
	Name Part = "name"
	// Tag is the tag alone.
	Tag Part = "tag"
	// Digest is the digest alone.
	Digest Part = "digest"
	// Registry is the host of the registry alone, in values of a Helm release.
	Registry Part = "registry"
)

// token is what every setter marker holds.
const token = "$imagepolicy"

// HasMarkers is a cheap look at whether a file can hold a setter marker; where
// it says false the file need not be parsed.
func HasMarkers(data []byte) bool { return bytes.Contains(data, []byte(token)) }

// Policy names an ImagePolicy.
type Policy struct{ Namespace, Name string }

// String is namespace:name, as in a marker.
func (p Policy) String() string { return p.Namespace + ":" + p.Name }

// Marker is a place whose value follows an ImagePolicy.
type Marker struct {
	Place
	Policy Policy
}

// Want is the value that the place should have when the policy chose ref.
func (m Marker) Want(ref imageref.Ref) (string, error) {
	value := map[Part]string{Image: ref.String(), Name: ref.Name, Tag: ref.Tag, Digest: ref.Digest}[m.Part]
	if m.Part == Image && ref.Tag == "" && ref.Digest == "" || value == "" {
		return "", fmt.Errorf("%w: policy %s has chosen no %s", imageref.ErrInvalid, m.Policy, m.Part)
	}
	return value, checkPart(m.Part, value)
}

func checkPart(part Part, value string) error {
	switch part {
	case Image:
		_, err := imageref.Parse(value)
		return err
	case Name:
		return imageref.CheckName(value)
	case Tag:
		return imageref.CheckTag(value)
	case Digest:
		return imageref.CheckDigest(value)
	case Registry:
		return imageref.CheckRegistry(value)
	}
	return fmt.Errorf("%w: no such part %q", imageref.ErrInvalid, part)
}

// objectName is what the API server accepts as name of a policy or namespace.
var objectName = regexp.MustCompile(`\A[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\z`)

// parseMarker reads the text of a comment, the hash included.
func parseMarker(comment string) (Policy, Part, error) {
	comment = strings.TrimLeft(comment, "#")
	var fields map[string]string
	if err := json.Unmarshal([]byte(comment), &fields); err != nil {
		return Policy{}, "", fmt.Errorf(`marker is not of the form {"$imagepolicy": "namespace:name"}: %w`, err)
	}
	value, ok := fields[token]
	if !ok {
		return Policy{}, "", fmt.Errorf(`marker has no field %q`, token)
	}
	parts := strings.Split(value, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return Policy{}, "", fmt.Errorf("marker says %.100q, not namespace:name or namespace:name:part", value)
	}
	part := Image
	if len(parts) == 3 {
		part = Part(parts[2])
	}
	if part != Image && part != Tag && part != Name && part != Digest || len(parts) == 3 && part == Image {
		return Policy{}, "", fmt.Errorf("marker asks for %.50q of the image; there are tag, name and digest", part)
	}
	for _, name := range parts[:2] {
		if !objectName.MatchString(name) {
			return Policy{}, "", fmt.Errorf("marker names %.100q, which cannot be a namespace or an ImagePolicy", name)
		}
	}
	return Policy{Namespace: parts[0], Name: parts[1]}, part, nil
}
