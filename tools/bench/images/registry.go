package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// registry lists tags that need not exist, as fast as it can, and counts what it is asked.
type registry struct {
	*httptest.Server
	mu        sync.Mutex
	lists     map[string][]byte // answers by name of the repository
	tags      map[string][]string
	listed    atomic.Int64 // requests for tags
	manifests atomic.Int64 // requests for anything else about images
	latency   atomic.Int64 // of each answer, in nanoseconds
	first     atomic.Pointer[time.Time]
}

func startRegistry() *registry {
	r := &registry{lists: map[string][]byte{}, tags: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	return r
}

func (r *registry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// add adds tags to a repository.
func (r *registry) add(repository string, tags ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags[repository] = append(r.tags[repository], tags...)
	answer, err := json.Marshal(map[string]any{"name": repository, "tags": r.tags[repository]})
	if err != nil { // strings alone
		panic(err)
	}
	r.lists[repository] = answer
}

// reset forgets what was counted.
func (r *registry) reset() {
	r.listed.Store(0)
	r.manifests.Store(0)
	r.first.Store(nil)
}

func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	now := time.Now()
	r.first.CompareAndSwap(nil, &now)
	repository, isList := strings.CutSuffix(strings.TrimPrefix(request.URL.Path, "/v2/"), "/tags/list")
	if !isList {
		r.manifests.Add(1)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	r.listed.Add(1)
	r.mu.Lock()
	answer := r.lists[repository]
	r.mu.Unlock()
	time.Sleep(time.Duration(r.latency.Load()))
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}
