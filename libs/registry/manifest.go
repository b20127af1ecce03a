package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

var manifestTypes = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ", ")

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Digest asks what a tag points at.
func (r *Repository) Digest(ctx context.Context, tag string) (string, error) {
	if !ValidTag(tag) {
		return "", fmt.Errorf("digest of %s: %w: no valid tag", r.image, ErrRefused)
	}
	response, err := r.ask(ctx, http.MethodHead, classManifests, r.path("manifests", tag), manifestTypes)
	if err != nil {
		return "", fmt.Errorf("digest of %s:%s: %w", r.image, tag, err)
	}
	response.Body.Close()
	if digest := response.Header.Get("Docker-Content-Digest"); digestPattern.MatchString(digest) {
		return digest, nil
	}
	body, err := r.get(ctx, classManifests, r.path("manifests", tag), manifestTypes, maxManifest)
	if err != nil {
		return "", fmt.Errorf("digest of %s:%s: %w", r.image, tag, err)
	}
	return digestOf(body), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Metadata is what the manifest of a digest says, and never changes.
type Metadata struct {
	Digest string `json:"digest"`
	// Created and Labels are those of the image, or of the first image in an index; Created is zero where it does not say.
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Platforms are those there are images for, as os/architecture[/variant], sorted.
	Platforms []string `json:"platforms,omitempty"`
	// Next is the document that is to be read next, as kind and digest; empty when all was read. It may be kept, and gone on with by another
	// process.
	Next string `json:"next,omitempty"`
}

// Kinds of documents in Metadata.Next: an image or index, an image that an index names, and the configuration of an image.
const (
	nextManifest = "manifest/"
	nextImage    = "image/"
	nextConfig   = "config/"
)

// Unread is the metadata of a digest of which nothing is known yet.
func Unread(digest string) *Metadata { return &Metadata{Digest: digest, Next: nextManifest + digest} }

// IsUnread says that nothing of the digest is known.
func (m *Metadata) IsUnread() bool { return m.Next == nextManifest+m.Digest }

// Tagged asks what a tag points at, in one request, and returns what came with the answer: mostly the manifest, which Complete need not ask
// for then. Docker Hub counts a request for a manifest as a pull, of which there are few, and one for its digest alone as none: there it is asked
// for the digest, as what the digest is may be known.
func (r *Repository) Tagged(ctx context.Context, tag string) (*Metadata, error) {
	if r.image.countsPulls() {
		digest, err := r.Digest(ctx, tag)
		return Unread(digest), err
	}
	m, err := r.tagged(ctx, tag)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s:%s: %w", r.image, clean(tag), err)
	}
	return m, nil
}

func (r *Repository) tagged(ctx context.Context, tag string) (*Metadata, error) {
	if !ValidTag(tag) {
		return nil, fmt.Errorf("%w: no valid tag", ErrRefused)
	}
	response, err := r.ask(ctx, http.MethodGet, classManifests, r.path("manifests", tag), manifestTypes)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := readBounded(response.Body, maxManifest)
	if err != nil {
		return nil, unfinished(err)
	}
	m := Unread(digestOf(body))
	if told := response.Header.Get("Docker-Content-Digest"); told != "" && told != m.Digest {
		return nil, fmt.Errorf("%w: what came has another digest than the registry says", ErrMalformed)
	}
	return m, m.readManifest(body)
}

// Metadata asks what an image or index is: two requests for an image, three for an index. What is fetched is checked by its digest.
func (r *Repository) Metadata(ctx context.Context, digest string) (*Metadata, error) {
	m := Unread(digest)
	return m, r.Complete(ctx, m)
}

// Complete asks for what is missing of metadata. After an error m holds how far it came.
func (r *Repository) Complete(ctx context.Context, m *Metadata) error {
	for m.Next != "" {
		if err := r.readNext(ctx, m); err != nil {
			return fmt.Errorf("metadata of %s@%s: %w", r.image, m.Digest, err)
		}
	}
	return nil
}

func (r *Repository) readNext(ctx context.Context, m *Metadata) error {
	if digest, is := strings.CutPrefix(m.Next, nextConfig); is {
		body, err := r.blob(ctx, classBlobs, "blobs", digest, maxConfig)
		if err != nil {
			return err
		}
		return m.readConfig(body)
	}
	_, digest, _ := strings.Cut(m.Next, "/")
	body, err := r.blob(ctx, classManifests, "manifests", digest, maxManifest)
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(m.Next, nextImage):
		return m.readImage(body)
	}
	return m.readManifest(body)
}

// readManifest reads the manifest of the digest itself: an image or an index.
func (m *Metadata) readManifest(body []byte) error {
	index, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	if len(index.Manifests) == 0 && !index.MediaType.IsIndex() {
		return m.readImage(body)
	}
	m.Next = ""
	if first := m.fromIndex(index); first != nil { // else an index of something else than images
		m.Next = nextImage + first.Digest.String()
	}
	return nil
}

// fromIndex reads the platforms, and returns the first image.
func (m *Metadata) fromIndex(index *v1.IndexManifest) *v1.Descriptor {
	var first *v1.Descriptor
	for i := range index.Manifests {
		d := &index.Manifests[i]
		if !d.MediaType.IsImage() || d.Platform != nil && d.Platform.OS == "unknown" { // attestations come as such
			continue
		}
		if first == nil {
			first = d
		}
		if d.Platform != nil {
			m.Platforms = append(m.Platforms, platform(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant))
		}
	}
	slices.Sort(m.Platforms)
	m.Platforms = slices.Compact(m.Platforms)
	return first
}

func platform(os, architecture, variant string) string {
	return clean(strings.TrimSuffix(os+"/"+architecture+"/"+variant, "/"))
}

// readImage reads the manifest of an image.
func (m *Metadata) readImage(body []byte) error {
	image, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	m.Next = ""
	if image.Config.MediaType.IsConfig() { // else an artifact of another kind
		m.Next = nextConfig + image.Config.Digest.String()
	}
	return nil
}

func (m *Metadata) readConfig(body []byte) error {
	var config v1.ConfigFile
	if err := json.Unmarshal(body, &config); err != nil {
		return fmt.Errorf("%w: configuration: %w", ErrMalformed, err)
	}
	m.Created, m.Labels, m.Next = config.Created.UTC(), boundedLabels(config.Config.Labels), ""
	if len(m.Platforms) == 0 && config.OS != "" {
		m.Platforms = []string{platform(config.OS, config.Architecture, config.Variant)}
	}
	return nil
}

// boundedLabels drops what is too large to keep.
func boundedLabels(labels map[string]string) map[string]string {
	const most, longest = 100, 4 << 10
	kept := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(kept) < most && len(key)+len(labels[key]) <= longest {
			kept[key] = labels[key]
		}
	}
	return kept
}

// blob gets what has a digest, and checks it.
func (r *Repository) blob(ctx context.Context, class, kind, digest string, most int64) ([]byte, error) {
	if !digestPattern.MatchString(digest) {
		return nil, fmt.Errorf("%w: digest %s", ErrMalformed, clean(digest))
	}
	accept := ""
	if class == classManifests {
		accept = manifestTypes
	}
	body, err := r.get(ctx, class, r.path(kind, digest), accept, most)
	if err != nil {
		return nil, err
	}
	if digestOf(body) != digest {
		return nil, fmt.Errorf("%w: what came for %s is something else", ErrMalformed, digest)
	}
	return body, nil
}

func (r *Repository) get(ctx context.Context, class, path, accept string, most int64) ([]byte, error) {
	response, err := r.ask(ctx, http.MethodGet, class, path, accept)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := readBounded(response.Body, most)
	if err != nil {
		return nil, unfinished(err)
	}
	return body, nil
}
