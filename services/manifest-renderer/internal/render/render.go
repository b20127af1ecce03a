// Package render builds the Kubernetes objects that a Kustomization stands for
// from one revision of its source, with Flux's semantics.
//
// It is a pure function of a tree.Tree and a Request. It reads no disk, runs no
// program and opens no connection, whatever the source says: references that
// kustomize would fetch are replaced by what the Request brings for them before
// kustomize sees them, or refused (vet.go).
//
// A build, once begun, cannot be stopped from outside. When its context ends
// the caller is answered at once, and the build ends at its next look into the
// source; until then it keeps its slot, so that builds nobody waits for cannot
// pile up.
package render

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Options configure a Renderer.
type Options struct {
	// Strict makes a variable that is missing and has no default an error.
	Strict bool
	// NoRemotes refuses kustomizations that name anything by address.
	NoRemotes bool
	// Builds is how many builds run at once, those included that nobody waits
	// for any more. Zero means one for each processor.
	Builds int
	// Limits bound one build. Zero fields take the default.
	Limits Limits
}

// Limits bound what one build may cost.
type Limits struct {
	ReadBytes      int64 // bytes read, a file counting each time; default 64 MiB
	Lookups        int   // questions to the file system; default 200 000
	Kustomizations int   // kustomization files read, one counting each time; default 2000
	Objects        int   // objects built; default 20 000
	ObjectBytes    int   // bytes of one object as JSON; default 4 MiB
	ResultBytes    int64 // bytes of all objects as JSON; default 64 MiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		ReadBytes:      orDefault(l.ReadBytes, 64<<20),
		Lookups:        orDefault(l.Lookups, 200_000),
		Kustomizations: orDefault(l.Kustomizations, 2000),
		Objects:        orDefault(l.Objects, 20_000),
		ObjectBytes:    orDefault(l.ObjectBytes, 4<<20),
		ResultBytes:    orDefault(l.ResultBytes, 64<<20),
	}
}

func orDefault[T int | int64](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// Result is a rendered Kustomization.
type Result struct {
	// Objects are sorted by group, kind, namespace, name and version.
	Objects []*unstructured.Unstructured
	// Manifests are the same objects as JSON, one on each line, keys sorted.
	// Equal objects give equal bytes.
	Manifests []byte
	// Digest is that of Manifests: sha256:<hex>.
	Digest string
	// ReadSet is what the render read.
	ReadSet tree.ReadSet
	// Remotes are the addresses that the render used, with the IDs of what was there.
	Remotes map[Address]string
}

// Renderer renders Kustomizations. It is safe for concurrent use.
type Renderer struct {
	strict  bool
	remotes bool // may be named
	limits  Limits
	slots   chan struct{} // one for each build that runs
	whole   chan struct{} // held by whoever collects all slots
	builds  atomic.Int64
}

// New returns a Renderer. A process wants only one: kustomize keeps its schema
// in package variables, and the slots are what bounds its memory.
func New(o Options) *Renderer {
	boundCopies()
	return &Renderer{
		strict:  o.Strict,
		remotes: !o.NoRemotes,
		limits:  o.Limits.withDefaults(),
		slots:   make(chan struct{}, orDefault(o.Builds, runtime.GOMAXPROCS(0))),
		whole:   make(chan struct{}, 1),
	}
}

// Builds is how many builds were begun.
func (r *Renderer) Builds() int64 { return r.builds.Load() }

// Render builds the objects of req from t. An *Error says what is wrong with
// the source or the request. *NeedsRemotes asks for the same request with more
// in it. Any other error is that of ctx, and says nothing about them.
func (r *Renderer) Render(ctx context.Context, t *tree.Tree, req Request) (*Result, error) {
	result, err := r.attempt(ctx, t, req, false)
	if errors.Is(err, errNeedsSchema) {
		result, err = r.attempt(ctx, t, req, true)
	}
	if err != nil {
		if _, ours := errors.AsType[*Error](err); ours {
			return nil, err
		}
		if _, ours := errors.AsType[*NeedsRemotes](err); ours {
			return nil, err
		}
		return nil, fmt.Errorf("render %s/%s: %w", req.Namespace, req.Name, err)
	}
	return result, nil
}

// attempt runs one build in a slot, or in all when it changes the schema that
// all builds share.
func (r *Renderer) attempt(ctx context.Context, t *tree.Tree, req Request, ownSchema bool) (*Result, error) {
	release, err := r.acquire(ctx, ownSchema)
	if err != nil {
		return nil, err
	}
	type outcome struct {
		result *Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		defer release()
		r.builds.Add(1)
		b := newBuild(ctx, r, t, req, ownSchema)
		result, err := b.run()
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// acquire waits for a slot, or for all, and returns how to give it back.
func (r *Renderer) acquire(ctx context.Context, all bool) (release func(), err error) {
	n := 1
	if all {
		n = cap(r.slots)
		select {
		case r.whole <- struct{}{}:
			defer func() { <-r.whole }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for got := range n {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			r.release(got)
			return nil, ctx.Err()
		}
	}
	return func() { r.release(n) }, nil
}

func (r *Renderer) release(n int) {
	for range n {
		<-r.slots
	}
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
