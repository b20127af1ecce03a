package main

import (
	"context"
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
	mu         sync.Mutex
	lists      map[string][]byte // answers by name of the repository
	tags       map[string][]string
	built      map[string]int   // repositories whose tags point at images, with the number of tags at first
	builds     map[string]build // by the digests of manifests and configurations that were told
	lastAsked  map[string]int   // number of the tag of a repository whose digest was asked for last
	disordered int              // digests of tags that were asked for after one of a lower tag
	pace       pace
	listed     atomic.Int64 // requests for tags
	digests    atomic.Int64 // for what a tag points at
	manifests  atomic.Int64 // for manifests, and for anything that is not here
	configs    atomic.Int64
	latency    atomic.Int64 // of each answer, in nanoseconds
	first      atomic.Pointer[time.Time]
}

func startRegistry() *registry {
	r := &registry{lists: map[string][]byte{}, tags: map[string][]string{}, built: map[string]int{}, builds: map[string]build{}}
	_ = r.reset(context.Background())
	r.Server = httptest.NewServer(r)
	return r
}

func (r *registry) title() string {
	if latency := time.Duration(r.latency.Load()); latency > 0 {
		return "a registry that answers after " + latency.String()
	}
	return "a registry that answers from memory"
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
func (r *registry) reset(context.Context) error {
	for _, count := range []*atomic.Int64{&r.listed, &r.digests, &r.manifests, &r.configs} {
		count.Store(0)
	}
	r.first.Store(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastAsked, r.disordered, r.pace.most = map[string]int{}, 0, 0
	return nil
}

func (r *registry) firstAsked() time.Time {
	if first := r.first.Load(); first != nil {
		return *first
	}
	return time.Time{}
}

// aboutImages is how many requests were about images rather than lists of tags.
func (r *registry) aboutImages() int64 {
	return r.digests.Load() + r.manifests.Load() + r.configs.Load()
}

func (r *registry) asked(context.Context) (lists, others int64, err error) {
	return r.listed.Load(), r.aboutImages(), nil
}

// requests is how many there were.
func (r *registry) requests() int64 { return r.listed.Load() + r.aboutImages() }

func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	repository, isList := strings.CutSuffix(strings.TrimPrefix(request.URL.Path, "/v2/"), "/tags/list")
	r.mu.Lock()
	now := time.Now()
	r.pace.note(now)
	answer := r.lists[repository]
	r.mu.Unlock()
	r.first.CompareAndSwap(nil, &now)
	if !isList {
		r.serveBuild(w, request)
		return
	}
	r.listed.Add(1)
	time.Sleep(time.Duration(r.latency.Load()))
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}
