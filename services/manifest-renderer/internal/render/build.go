package render

import (
	"context"
	"errors"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/substitute"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// build is one attempt at one render.
type build struct {
	*Renderer
	ctx       context.Context // of the one render that the build lives for
	view      *tree.View
	req       Request
	spec      kustomizev1.KustomizationSpec
	ownSchema bool
	dir       string // the Kustomization's path, relative to the tree's root
	vars      substitute.Variables
	vet       vet
	sources   map[string]string // of the direct path: object to the file it is in
	opened    secretValues      // decrypted in objects
}

func newBuild(ctx context.Context, r *Renderer, t *tree.Tree, req Request, ownSchema bool) *build {
	view := tree.NewView(ctx, t, tree.Budget{Lookups: r.limits.Lookups, Bytes: r.limits.ReadBytes})
	b := &build{Renderer: r, view: view, req: req, spec: req.spec(), ownSchema: ownSchema}
	b.vet = vet{view: view, limits: r.limits, ownSchema: ownSchema}
	b.vet.remotes = remotes{view: view, allowed: r.remotes, fetched: req.Remotes}
	b.ctx = ctx
	if b.decrypts() {
		b.vet.open = b.openFile
	}
	view.OnRead = b.vet.onRead
	return b
}

// run is the whole render.
func (b *build) run() (*Result, error) {
	result, err := b.steps()
	if err == nil {
		// An answer that was refused can look like a file that is not there.
		err = b.view.Err()
	}
	if err == nil {
		result.ReadSet, result.Remotes = b.view.ReadSet(), b.vet.remotes.used
		return result, nil
	}
	return nil, b.explain(err)
}

func (b *build) steps() (result *Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			// What a panic says can quote the source.
			result, err = nil, failed("the build crashed on this source (%T)", p)
		}
	}()
	if err := b.locate(); err != nil {
		return nil, err
	}
	if b.vars, err = b.variables(); err != nil {
		return nil, failed("post build: %v", err)
	}
	resources, err := b.resources()
	if err != nil {
		return nil, err
	}
	return b.finish(resources)
}

// locate finds the directory to build.
func (b *build) locate() error {
	if d := b.spec.Decryption; d != nil && (d.Provider != decrypt.Provider || b.req.Decryptor == nil) {
		return failed("spec.decryption.provider %.50q is not supported", d.Provider)
	}
	// A path with too many ".." means the root, as it does in Flux.
	b.dir = path.Join("/", b.spec.Path)[1:]
	if b.dir == "" {
		b.dir = "."
	}
	switch b.view.Stat(b.dir) {
	case tree.Absent:
		return pathNotFound(b.dir)
	case tree.File:
		return failed("the path is a file, not a directory").in(b.dir)
	}
	return nil
}

func (b *build) variables() (substitute.Variables, error) {
	if b.spec.PostBuild == nil {
		return substitute.Variables{}, nil
	}
	return substitute.NewVariables(b.strict, b.req.Variables, b.spec.PostBuild.Substitute)
}

// resources are what the directory holds, not yet substituted.
func (b *build) resources() ([]*resource.Resource, error) {
	name, data, err := b.kustomizationFile()
	if err != nil {
		return nil, err
	}
	if name != "" {
		k, err := parseKustomization(name, data)
		if err != nil {
			return nil, err
		}
		return b.kustomize(name, k)
	}
	found, err := b.scan()
	if err != nil {
		return nil, err
	}
	if b.isPlain(found) {
		resources, err := b.readPlain(found)
		if !errors.Is(err, errNotPlain) {
			return resources, err
		}
	}
	return b.kustomize(path.Join(b.dir, kustomizationNames[0]), overFiles(found))
}

// kustomize runs a kustomize build of the kustomization after the changes that
// the spec asks for.
func (b *build) kustomize(name string, k *kustypes.Kustomization) (resources []*resource.Resource, err error) {
	if err := b.amend(k); err != nil {
		return nil, err
	}
	if k.CheckEmpty() != nil {
		return nil, nil
	}
	data, err := marshalKustomization(k)
	if err != nil {
		return nil, err
	}
	b.view.Overlay(name, data)
	b.sources = nil
	fs := b.view.FileSystem()
	withSchema(b.ownSchema, func() { resources, err = krustyRun(fs, path.Join(tree.Root, b.dir)) })
	return resources, err
}

// krustyRun is kustomize's build with bases anywhere in the tree and without
// any plugin that is not built in.
func krustyRun(fs filesys.FileSystem, dir string) (resources []*resource.Resource, err error) {
	defer func() {
		if p := recover(); p != nil {
			resources, err = nil, failed("kustomize crashed on this source (%T)", p)
		}
	}()
	m, err := krusty.MakeKustomizer(&krusty.Options{
		Reorder:          krusty.ReorderOptionNone,
		LoadRestrictions: kustypes.LoadRestrictionsNone,
		PluginConfig:     kustypes.DisabledPluginConfig(),
	}).Run(fs, dir)
	if err != nil {
		return nil, err
	}
	return m.Resources(), nil
}

// explain turns what ended the build into an *Error with its read-set, unless
// it says nothing about the source. What the view failed with comes before what
// kustomize made of that.
func (b *build) explain(err error) error {
	if cause := b.view.Err(); cause != nil {
		err = cause
	}
	if _, needs := errors.AsType[*NeedsRemotes](err); needs {
		return err
	}
	if errors.Is(err, errNeedsSchema) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, tree.ErrTooMuch) {
		err = failed("the build reads too much: more than %d lookups or %d bytes", b.limits.Lookups, b.limits.ReadBytes)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = b.explainKustomize(err)
	}
	e.Message, e.Object = b.withoutOpened(e.Message), b.withoutOpened(e.Object)
	e.Message, e.File = b.vet.remotes.labelled(e.Message), b.vet.remotes.labelled(e.File)
	e.ReadSet, e.Remotes = b.view.ReadSet(), b.vet.remotes.used
	return e
}

// explainKustomize finds out what kustomize failed at, or else repeats what it
// says of that.
func (b *build) explainKustomize(err error) *Error {
	if strings.Contains(err.Error(), "invalid Kustomization") && b.vet.invalid != nil {
		return b.vet.invalid
	}
	if e := b.diagnosis(); e != nil {
		return e
	}
	return failed("kustomize build failed: %s", b.redact(err.Error()))
}
