// Package handler turns one GitRepository into an artifact, a status and a fact.
package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/identity"
)

// Backoff of failing repositories: a mended password or a host that is back shows within two minutes.
var Backoff = stage.Backoff{Base: time.Second, Max: 2 * time.Minute}

const defaultTimeout = time.Minute

// maxChangedPaths is how many changed paths a fact names at most.
const maxChangedPaths = 2000

// Watcher is the handler of stage git.
type Watcher struct {
	Mirrors     *git.Mirrors
	Cluster     *kube.Cluster
	Bus         *bus.Conn
	Artifacts   bus.ArtifactStore
	Events      *kube.Events
	Identity    *identity.Issuer
	ArtifactURL string
}

// Handled reads from a GitRepository's status what it answers.
func Handled(obj client.Object) (int64, string) {
	repo, ok := obj.(*sourcev1.GitRepository)
	if !ok {
		return 0, ""
	}
	return repo.Status.ObservedGeneration, repo.Status.LastHandledReconcileAt
}

// Run brings one GitRepository forward.
func (w *Watcher) Run(ctx context.Context, run *stage.Run) (stage.Result, error) {
	repo := &sourcev1.GitRepository{}
	err := w.Cluster.Client.Get(ctx, run.Key, repo)
	switch {
	case apierrors.IsNotFound(err):
		return stage.Result{Gone: true}, nil
	case err != nil:
		// An API server that is away is no fault of the repository: the patience does not grow.
		return stage.Result{}, stage.After(5*time.Second, fmt.Errorf("read git repository: %w", err))
	case repo.DeletionTimestamp != nil:
		return w.release(ctx, run, repo)
	case repo.Spec.Suspend:
		return stage.Result{}, nil
	}
	known, err := loadKnown(run, repo)
	if err != nil {
		return stage.Result{}, err
	}
	found, err := w.follow(ctx, run, repo, &known)
	if err != nil {
		return w.failed(ctx, run, repo, known, err)
	}
	if err := w.succeeded(ctx, run, repo, known, found); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Next: repo.Spec.Interval.Duration}, nil
}

// release lets a deleted object go that has a finalizer from Flux. Its artifact is collected when nobody names it.
func (w *Watcher) release(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository) (stage.Result, error) {
	if err := run.Guard(); err != nil {
		return stage.Result{}, err
	}
	if err := w.Cluster.RemoveFinalizer(ctx, repo); err != nil {
		return stage.Result{}, err
	}
	return stage.Result{Gone: true}, nil
}

// loadKnown returns what was last known of the object; where the bus lost it, what the object's status says.
func loadKnown(run *stage.Run, repo *sourcev1.GitRepository) (state.Source, error) {
	var known state.Source
	if _, err := run.Load(&known); err != nil {
		return known, err
	}
	if known.UID == repo.UID {
		return known, nil
	}
	return state.Source{UID: repo.UID}, nil
}

// news is what a run found at the remote. Nil fields: as before.
type news struct {
	artifact *meta.Artifact
	commit   *git.Commit
	changed  []string
	complete bool // changed names every path
	seen     time.Time
}

// follow resolves the ref and, when the revision or what is taken of it is another than known, fetches, verifies and stores the artifact.
func (w *Watcher) follow(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known *state.Source) (*news, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(repo))
	defer cancel()
	want, err := w.read(ctx, repo)
	if err != nil {
		return nil, err
	}
	resolved, err := w.Mirrors.Resolve(ctx, want.source)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resolved.Close() }()
	seen := time.Now()
	current, err := w.isCurrent(ctx, known, want, resolved.Revision())
	if err != nil || current {
		return &news{}, err
	}
	snapshot, err := resolved.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	if want.verified, err = want.verify(repo, snapshot); err != nil {
		return nil, err
	}
	return w.store(ctx, run, repo, known, want, snapshot, seen)
}

func timeoutOf(repo *sourcev1.GitRepository) time.Duration {
	if repo.Spec.Timeout != nil && repo.Spec.Timeout.Duration > 0 {
		return repo.Spec.Timeout.Duration
	}
	return defaultTimeout
}

// isCurrent says whether the known artifact is that of the revision and the present spec, and still stored.
func (w *Watcher) isCurrent(ctx context.Context, known *state.Source, want *wanted, revision git.Revision) (bool, error) {
	if known.Artifact == nil || known.Artifact.Revision != revision.String() || known.Inputs != want.inputs {
		return false, nil
	}
	return w.Artifacts.Has(ctx, known.Artifact.Digest)
}

// store packs the snapshot, stores it and records it as known.
func (w *Watcher) store(ctx context.Context, run *stage.Run, repo *sourcev1.GitRepository, known *state.Source, want *wanted, snapshot *git.Snapshot, seen time.Time) (*news, error) {
	data, digest, err := w.pack(ctx, repo, want, snapshot)
	if err != nil {
		return nil, err
	}
	if err := w.Artifacts.Put(ctx, digest, data); err != nil {
		return nil, &storageError{err}
	}
	found := &news{artifact: w.artifact(repo, snapshot.Revision.String(), digest, int64(len(data))), commit: &snapshot.Commit, seen: seen}
	if before := known.Artifact; before != nil {
		found.changed, found.complete, err = snapshot.ChangedPaths(ctx, before.Revision, maxChangedPaths)
		if err != nil {
			return nil, err
		}
		// The commit does not say what changed in other sources, nor the artifact's fields what changed in the spec.
		found.complete = found.complete && len(want.included) == 0 && !repo.Spec.RecurseSubmodules && known.Inputs == want.inputs
		if before.Digest == digest && before.Revision == found.artifact.Revision && before.URL == found.artifact.URL {
			found.artifact = before
		}
	}
	known.Artifact, known.Inputs, known.Included, known.Verified = found.artifact, want.inputs, want.included, want.verified
	if err := run.Save(ctx, *known); err != nil {
		return nil, err
	}
	run.Log.Info("stored artifact", "revision", found.artifact.Revision, "bytes", len(data), "took", time.Since(seen).String())
	return found, nil
}

// pack makes the artifact's bytes and their digest.
func (w *Watcher) pack(ctx context.Context, repo *sourcev1.GitRepository, want *wanted, snapshot *git.Snapshot) ([]byte, string, error) {
	included, err := w.includedFiles(ctx, repo, want.included)
	if err != nil {
		return nil, "", err
	}
	files, err := snapshot.Files(ctx, git.Selection{
		Ignore: repo.Spec.Ignore, Sparse: repo.Spec.SparseCheckout, Submodules: repo.Spec.RecurseSubmodules, Included: included,
	})
	if err != nil {
		return nil, "", err
	}
	data, digest, err := archive.PackBytes(files)
	if errors.Is(err, archive.ErrInvalid) && len(included) > 0 {
		return nil, "", noInclude(reasonCopy, "failed to copy what is included: %w", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("pack revision %s: %w", snapshot.Revision, err)
	}
	return data, digest, nil
}

func (w *Watcher) artifact(repo *sourcev1.GitRepository, revision, digest string, size int64) *meta.Artifact {
	path := artifactPath(types.NamespacedName{Namespace: repo.Namespace, Name: repo.Name}, digest)
	return &meta.Artifact{
		Digest: digest, Path: path, URL: w.ArtifactURL + "/" + path, Revision: revision,
		LastUpdateTime: metav1.NewTime(time.Now().UTC().Truncate(time.Second)), Size: &size,
	}
}
