package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What the digests of a tag lead to is what they say, and the middle tag was built last.
func TestBuilds(t *testing.T) {
	r := startRegistry()
	defer r.Close()
	r.addBuilds("app", 0, 4, 4)
	var newest string
	var latest time.Time
	for i := range 4 {
		head, err := http.Head(r.URL + "/v2/app/manifests/" + tag(i))
		if err != nil {
			t.Fatal(err)
		}
		head.Body.Close()
		var manifest v1.Manifest
		get(t, r, "manifests", head.Header.Get("Docker-Content-Digest"), &manifest)
		var config v1.ConfigFile
		get(t, r, "blobs", manifest.Config.Digest.String(), &config)
		if config.Created.After(latest) {
			newest, latest = tag(i), config.Created.Time
		}
	}
	if newest != tag(2) {
		t.Errorf("built last was %s; want %s", newest, tag(2))
	}
	if r.digests.Load() != 4 || r.manifests.Load() != 4 || r.configs.Load() != 4 || r.disordered != 3 {
		t.Errorf("%d digests, %d manifests, %d configurations, %d out of order; want 4, 4, 4 and 3", r.digests.Load(), r.manifests.Load(), r.configs.Load(), r.disordered)
	}
}

func get(t *testing.T, r *registry, kind, digest string, into any) {
	t.Helper()
	response, err := http.Get(r.URL + "/v2/app/" + kind + "/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(body) != digest {
		t.Errorf("%s of %s is %q", kind, digest, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}

func TestPace(t *testing.T) {
	start := time.Now()
	p := pace{perSecond: 10}
	for _, after := range []time.Duration{0, 0, 0, 200 * time.Millisecond, 200 * time.Millisecond, 10 * time.Second} {
		p.note(start.Add(after))
	}
	if p.most != 3 { // three at once; two more while two were let through
		t.Errorf("at most %v ahead; want 3", p.most)
	}
}
