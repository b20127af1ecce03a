package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
)

// epoch is when the first tag of every image was built.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// build is what a tag of an image points at. Manifest and configuration are made when somebody asks for them.
type build struct {
	repository string
	number     int // of the tag
	created    time.Time
}

// builtAt is when a tag was built: a minute after the one before, but of so many the middle one, which was built once more after them all.
func builtAt(number, tags int) time.Time {
	if number == tags/2 {
		return epoch.Add(time.Duration(tags)*time.Minute - time.Second)
	}
	return epoch.Add(time.Duration(number) * time.Minute)
}

func (b build) config() []byte {
	return fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","created":%q,"config":{"Labels":{"org.opencontainers.image.title":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`,
		b.created.Format(time.RFC3339), b.repository+":"+tag(b.number))
}

func (b build) manifest() []byte {
	config := b.config()
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		manifestType, configType, digestOf(config), len(config))
}

func digestOf(document []byte) string {
	sum := sha256.Sum256(document)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// addBuilds adds the tags from one number up to another to a repository, with an image each.
func (r *registry) addBuilds(repository string, from, to, tags int) {
	names := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		names = append(names, tag(i))
	}
	r.mu.Lock()
	r.built[repository] = tags
	r.mu.Unlock()
	r.add(repository, names...)
}

// serveBuild answers for manifests and configurations. A digest is known from when its tag was first asked for.
func (r *registry) serveBuild(w http.ResponseWriter, request *http.Request) {
	path := strings.TrimPrefix(request.URL.Path, "/v2/")
	if repository, digest, is := strings.Cut(path, "/blobs/"); is {
		r.configs.Add(1)
		r.serveDocument(w, configType, repository, digest, build.config)
		return
	}
	repository, reference, _ := strings.Cut(path, "/manifests/")
	digest := reference
	if !strings.HasPrefix(reference, "sha256:") {
		var found bool
		if digest, found = r.resolve(repository, reference); !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Docker-Content-Digest", digest)
	}
	if request.Method != http.MethodHead {
		r.manifests.Add(1)
		r.serveDocument(w, manifestType, repository, digest, build.manifest)
		return
	}
	r.digests.Add(1)
	w.Header().Set("Content-Type", manifestType)
}

// resolve returns the digest that a tag points at, and notes whether tags are asked for from the last one down, those apart that were added later.
func (r *registry) resolve(repository, reference string) (digest string, found bool) {
	var number int
	if _, err := fmt.Sscanf(reference, "1.%d.0", &number); err != nil {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	tags, found := r.built[repository]
	if !found {
		return "", false
	}
	if before, asked := r.lastAsked[repository]; asked && number > before && number < tags {
		r.disordered++
	}
	r.lastAsked[repository] = number
	b := build{repository, number, builtAt(number, tags)}
	digest = digestOf(b.manifest())
	r.builds[digest], r.builds[digestOf(b.config())] = b, b
	return digest, true
}

func (r *registry) serveDocument(w http.ResponseWriter, kind, repository, digest string, make func(build) []byte) {
	r.mu.Lock()
	b, found := r.builds[digest]
	r.mu.Unlock()
	if !found || b.repository != repository {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(make(b))
}

// pace follows how far requests run ahead of a rate, as the bucket of a budget does.
type pace struct {
	perSecond   float64
	level, most float64 // requests ahead of the rate, now and at most
	last        time.Time
}

func (p *pace) note(at time.Time) {
	p.level = max(0, p.level-at.Sub(p.last).Seconds()*p.perSecond) + 1
	p.most, p.last = max(p.most, p.level), at
}
