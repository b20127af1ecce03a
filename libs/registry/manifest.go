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
}

// Metadata asks what an image or index is: two requests for an image, three for an index. What is fetched is checked by its digest.
func (r *Repository) Metadata(ctx context.Context, digest string) (*Metadata, error) {
	m, err := r.metadata(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s@%s: %w", r.image, digest, err)
	}
	return m, nil
}

func (r *Repository) metadata(ctx context.Context, digest string) (*Metadata, error) {
	body, err := r.blob(ctx, classManifests, "manifests", digest, maxManifest)
	if err != nil {
		return nil, err
	}
	m := &Metadata{Digest: digest}
	index, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	if len(index.Manifests) > 0 || index.MediaType.IsIndex() {
		first := m.fromIndex(index)
		if first == nil {
			return m, nil // an index of something else than images
		}
		if body, err = r.blob(ctx, classManifests, "manifests", first.Digest.String(), maxManifest); err != nil {
			return nil, err
		}
	}
	return m, r.fromImage(ctx, body, m)
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

// fromImage reads the configuration of an image's manifest.
func (r *Repository) fromImage(ctx context.Context, manifest []byte, m *Metadata) error {
	image, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	if !image.Config.MediaType.IsConfig() {
		return nil // an artifact of another kind
	}
	body, err := r.blob(ctx, classBlobs, "blobs", image.Config.Digest.String(), maxConfig)
	if err != nil {
		return err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(body, &config); err != nil {
		return fmt.Errorf("%w: configuration: %w", ErrMalformed, err)
	}
	m.Created, m.Labels = config.Created.UTC(), boundedLabels(config.Config.Labels)
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
