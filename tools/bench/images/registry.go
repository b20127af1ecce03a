package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// listBare lists the tags of repositories with a plain client and returns how long all of it took.
func (r *registry) listBare(ctx context.Context, repositories []string, connections int) (time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	began := time.Now()
	err := each(connections, repositories, func(name string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/v2/"+name+"/tags/list?n=1000", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer struct{ Tags []string }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return fmt.Errorf("list %s: %w", name, err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
	return time.Since(began), err
}

// each calls do for all, so many at once, and returns the first error.
func each[T any](workers int, all []T, do func(T) error) error {
	queue := make(chan T, len(all))
	for _, one := range all {
		queue <- one
	}
	close(queue)
	failed := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for one := range queue {
				if err := do(one); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}
