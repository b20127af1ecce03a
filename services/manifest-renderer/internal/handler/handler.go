// Package handler turns one Kustomization and its source's artifact into a sealed set and a fact.
package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sort"
	"strings"
	"sync"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/seal"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/remote"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Backoff of runs that fail for no fault of the application, such as an API server or a bus that is away.
var Backoff = stage.Backoff{Base: time.Second, Max: 30 * time.Second}

// Handler is the handler of stage render.
type Handler struct {
	Cluster              *kube.Cluster
	Bus                  *bus.Conn
	Sealer               *seal.Sealer
	Sets                 *Sets
	Renderer             *render.Renderer
	Trees                *Trees
	NoCrossNamespaceRefs bool
	// Remotes fetches what kustomizations name by address; nil where the Renderer refuses that.
	Remotes *remote.Fetcher
	// AgeSecret holds age identities for Kustomizations whose spec.decryption names no Secret; empty for none.
	AgeSecret types.NamespacedName
	// Identities are those of service accounts that spec.decryption names, and Vault is the Vault of those whose Secret holds no token.
	Identities *decrypt.Identities
	Vault      decrypt.Vault

	remotes  sync.Map // Kustomization → the addresses that its last render in this process used
	requests sync.Map // Kustomization → the request that was last seen
}

// Followers says which Kustomizations a revised source wakes: first those that read what changed, as far as this process knows what they
// read, and otherwise those below whose path something changed. Which of them really render is decided by what they read.
func (h *Handler) Followers(ctx context.Context, fact *factsv1.Fact) ([]types.NamespacedName, error) {
	followers, err := h.Cluster.Followers(ctx, fact.GetObject().GetKind(), bus.FactObject(fact))
	if err != nil {
		return nil, err
	}
	changed := fact.GetSourceRevised().GetChangedPaths()
	keys := make([]types.NamespacedName, 0, len(followers))
	var others []types.NamespacedName
	for _, f := range followers {
		if h.concerns(f, changed) {
			keys = append(keys, f.Key)
		} else {
			others = append(others, f.Key)
		}
	}
	return append(keys, others...), nil
}

// concerns says whether changed paths likely change what a Kustomization renders to.
func (h *Handler) concerns(f kube.Follower, changed []string) bool {
	if read := h.Sets.LastRead(f.Key); read != nil {
		return read.Touched(changed)
	}
	return isBelow(changed, f.Path)
}

// isBelow says whether one of the sorted paths lies in a directory.
func isBelow(paths []string, dir string) bool {
	dir = strings.TrimPrefix(path.Clean("/"+dir)+"/", "/")
	at := sort.SearchStrings(paths, dir)
	return at < len(paths) && strings.HasPrefix(paths[at], dir)
}

// Run brings the rendered set of one Kustomization up to date.
func (h *Handler) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	k := &kustomizev1.Kustomization{}
	err := h.Cluster.Read(ctx, run.Key, k, run.Hint.Generation)
	switch {
	case apierrors.IsNotFound(err), err == nil && k.DeletionTimestamp != nil:
		h.forget(run.Key)
		return stage.Result{Gone: true}, nil
	case err != nil:
		return stage.Result{}, fmt.Errorf("read kustomization: %w", err)
	case k.Spec.Suspend:
		return stage.Result{}, nil
	}
	var last state.Rendered
	if _, err := run.Load(&last); err != nil {
		return stage.Result{}, err
	}
	if last.UID != k.UID {
		last = state.Rendered{UID: k.UID}
	}
	return h.bringForward(ctx, run, k, last)
}

// Watched has this process forget what it knows of a Kustomization that is deleted, whichever replica has the run of the deletion.
type Watched struct {
	kube.Waker
	Handler *Handler
}

// Trigger wakes the stage.
func (w Watched) Trigger(ctx context.Context, key types.NamespacedName, hint stage.Hint) {
	if hint.Cause == "deleted" {
		w.Handler.forget(key)
	}
	w.Waker.Trigger(ctx, key, hint)
}

// forget forgets a Kustomization that is gone, or going.
func (h *Handler) forget(key types.NamespacedName) {
	h.Sets.Forget(key)
	h.remotes.Delete(key)
	h.requests.Delete(key)
}

// bringForward renders what is not up to date, keeps the outcome for applier, and tells of it when it is another than before.
func (h *Handler) bringForward(ctx context.Context, run *stage.Run, k *kustomizev1.Kustomization, last state.Rendered) (stage.Result, error) {
	started := time.Now()
	next, failure := h.render(ctx, k, last)
	if errors.Is(failure, errEarly) {
		return stage.Result{Next: earlyDelay, Exact: true, Idle: true}, nil
	}
	if errors.Is(failure, remote.ErrUnderWay) {
		return stage.Result{Next: fetchDelay, Exact: true}, nil
	}
	var fault *faultError
	if failure != nil && !errors.As(failure, &fault) {
		return stage.Result{}, failure // ours or passing: nothing about it is the application's
	}
	h.noteReads(run.Key, next)
	next.Generation, next.RequestedAt = k.Generation, kube.RequestedAt(k)
	next.Reason, next.Message = "", ""
	if fault != nil {
		next.Reason, next.Message = fault.reason, fault.Error()
	}
	if !last.Told || !sameOutcome(last, next) {
		next.At, next.Told = started, false
		if err := run.Save(ctx, next); err != nil {
			return stage.Result{}, err
		}
		if err := run.Tell(ctx, factOf(k, last, next, started, fault)); err != nil {
			return stage.Result{}, err
		}
		next.Told = true
		logOutcome(run.Log, last, next, time.Since(started))
	}
	if err := run.Keep(next); err != nil {
		return stage.Result{}, err
	}
	if fault != nil {
		return stage.Result{}, stage.After(k.GetRetryInterval(), failure)
	}
	return stage.Result{Next: k.Spec.Interval.Duration, Idle: next.Set == last.Set}, nil
}

func logOutcome(log *slog.Logger, last, next state.Rendered, took time.Duration) {
	if !next.OK() {
		log.Info("render failed", "revision", next.SourceRevision, "reason", next.Reason, "err", next.Message, "took", took.String())
		return
	}
	log.Info("rendered", "revision", next.SourceRevision, "objects", next.Objects, "unchanged", last.Set == next.Set, "took", took.String())
}

// noteReads remembers what a Kustomization reads, for Followers.
func (h *Handler) noteReads(key types.NamespacedName, r state.Rendered) {
	switch {
	case r.FailedReadSet != "":
		h.Sets.Remember(key, r.FailedReadSet)
	case r.ReadSet != "":
		h.Sets.Remember(key, r.ReadSet)
	}
}

// sameOutcome says whether there is nothing new to tell.
func sameOutcome(a, b state.Rendered) bool {
	a.At, a.Told = b.At, b.Told
	return a == b
}

// render returns the outcome for the present spec and source. With a faultError the outcome still names what was tried.
func (h *Handler) render(ctx context.Context, k *kustomizev1.Kustomization, last state.Rendered) (state.Rendered, error) {
	next := last
	next.FailedReadSet = ""
	source, err := h.source(ctx, k)
	if err != nil {
		return next, err
	}
	next.SourceRevision, next.SourceDigest = source.Revision, source.Digest
	variables, err := h.variables(ctx, k)
	if err != nil {
		return next, err
	}
	decryptor, err := h.decryptor(ctx, k)
	if err != nil {
		return next, err
	}
	request := render.Request{Name: k.Name, Namespace: k.Namespace, Spec: &k.Spec, Variables: variables, Decryptor: decryptor}
	next.Fingerprint = h.Renderer.Fingerprint(h.Sealer.NameKey(), request)
	if last.Fingerprint == next.Fingerprint {
		current, err := h.isCurrent(ctx, last, source)
		if err == nil && current {
			current, err = h.sameRemotes(k, last)
		}
		if err != nil || current {
			return again(last, next, err)
		}
	}
	files, err := h.tree(ctx, k, source, last.SourceDigest)
	if err != nil {
		return next, err
	}
	result, err := h.build(ctx, k, last, files, request)
	if err != nil {
		var bad *render.Error
		if errors.As(err, &bad) {
			next.Remotes = h.noteRemotes(k, bad.Remotes)
			return h.failed(ctx, next, bad)
		}
		return next, fmt.Errorf("render at %s: %w", source.Revision, err)
	}
	next.Remotes = h.noteRemotes(k, result.Remotes)
	return h.Sets.Put(ctx, next, result)
}

// failed keeps what a failed render read, so that it is not done again where that is the same.
func (h *Handler) failed(ctx context.Context, next state.Rendered, bad *render.Error) (state.Rendered, error) {
	if !bad.Passing {
		name, err := h.Sets.PutReadSet(ctx, bad.ReadSet)
		if err != nil {
			return next, err
		}
		next.FailedReadSet = name
	}
	return next, &faultError{reason: bad.Reason, error: bad}
}

// again is the outcome of a render that would be the last one's, done or failed.
func again(last, next state.Rendered, err error) (state.Rendered, error) {
	if err != nil || last.OK() {
		return next, err
	}
	next.FailedReadSet = last.FailedReadSet
	return next, fault(last.Reason, "%s", last.Message)
}

// isCurrent says whether the last outcome is that of a render from the source, without rendering: what the render read is the same.
func (h *Handler) isCurrent(ctx context.Context, last state.Rendered, source *meta.Artifact) (bool, error) {
	name := last.ReadSet
	if !last.OK() {
		name = last.FailedReadSet
	} else if stored, err := h.Sets.Stored(ctx, last.Set); err != nil || !stored {
		return false, err
	}
	if name == "" || last.SourceDigest == source.Digest {
		return name != "", nil
	}
	read, err := h.Sets.ReadSet(ctx, name)
	if err != nil || read == nil {
		return false, err
	}
	files, err := h.Trees.Get(ctx, source.Digest, last.SourceDigest)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		return false, nil // the render says what to do about it
	}
	return err == nil && read.Unchanged(files), err
}

// tree returns the unpacked artifact; when the bus lost it, the source is asked to store it again.
func (h *Handler) tree(ctx context.Context, k *kustomizev1.Kustomization, source *meta.Artifact, before string) (*tree.Tree, error) {
	files, err := h.Trees.Get(ctx, source.Digest, before)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		if err := stage.Wake(ctx, h.Bus, state.StageGit, kube.SourceOf(k), stage.Hint{Cause: "lost"}); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("artifact of %s is lost, asked for again: %w", source.Revision, err)
	}
	return files, err
}

// patience is how long a new Kustomization waits in silence for a source that was made together with it, asking each earlyDelay where no
// fact comes.
const (
	patience   = 3 * time.Second
	earlyDelay = time.Second
)

var errEarly = errors.New("source is not there yet")

// isNew says whether git-watcher has not looked at the object yet.
func isNew(repo *sourcev1.GitRepository) bool {
	return repo.Status.Artifact == nil && len(repo.Status.Conditions) == 0
}

// source returns the present artifact of a Kustomization's source: as git-watcher recorded it, or as its status says where the bus lost that.
func (h *Handler) source(ctx context.Context, k *kustomizev1.Kustomization) (*meta.Artifact, error) {
	key := kube.SourceOf(k)
	if h.NoCrossNamespaceRefs && key.Namespace != k.Namespace {
		return nil, fault("AccessDenied", "can't access '%s/%s', cross-namespace references have been blocked", k.Spec.SourceRef.Kind, key)
	}
	if k.Spec.SourceRef.Kind != sourcev1.GitRepositoryKind {
		return nil, fault(meta.ArtifactFailedReason, "source kind %s is not served by this version of Sluice", k.Spec.SourceRef.Kind)
	}
	var known state.Source
	if _, err := stage.ReadState(ctx, h.Bus, state.StageGit, key, &known); err != nil {
		return nil, err
	}
	if known.Artifact != nil {
		return known.Artifact, nil
	}
	var repo sourcev1.GitRepository
	err := h.Cluster.Client.Get(ctx, key, &repo)
	if early := time.Since(k.CreationTimestamp.Time) < patience; early && (apierrors.IsNotFound(err) || err == nil && isNew(&repo)) {
		return nil, errEarly
	}
	if apierrors.IsNotFound(err) {
		return nil, fault(meta.ArtifactFailedReason, "source GitRepository '%s' not found", key)
	}
	if err != nil {
		return nil, fmt.Errorf("read source %s: %w", key, err)
	}
	if repo.Status.Artifact == nil {
		return nil, fault(meta.ArtifactFailedReason, "source GitRepository '%s' has no artifact yet", key)
	}
	return repo.Status.Artifact, nil
}
