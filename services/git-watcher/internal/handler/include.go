package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

// The reasons of the condition IncludeUnavailable, as in Flux, and one of ours.
const (
	reasonNoSource   = "NotFound"
	reasonNoArtifact = "NoArtifact"
	reasonCycle      = "IncludeCycle"
	reasonCopy       = "CopyFailure" // of StorageOperationFailed
)

// includeError says why a source cannot be included.
type includeError struct {
	reason string
	error
}

func (e *includeError) Unwrap() error { return e.error }

func noInclude(reason, format string, args ...any) error {
	return &includeError{reason, fmt.Errorf(format, args...)}
}

const includeIndex = "include"

// IndexIncludes lets Includers find GitRepositories by what they include. It must be called before the cache starts.
func IndexIncludes(ctx context.Context, c *kube.Cluster) error {
	err := c.Cache.IndexField(ctx, &sourcev1.GitRepository{}, includeIndex, func(o client.Object) []string {
		var names []string
		if repo, ok := o.(*sourcev1.GitRepository); ok {
			for _, i := range repo.Spec.Include {
				names = append(names, i.GitRepositoryRef.Name)
			}
		}
		return names
	})
	if err != nil {
		return fmt.Errorf("index git repositories by include: %w", err)
	}
	return nil
}

// Includers finds the GitRepositories that include the one a fact is about.
func (w *Watcher) Includers(ctx context.Context, fact *factsv1.Fact) ([]types.NamespacedName, error) {
	if fact.GetObject().GetKind() != sourcev1.GitRepositoryKind {
		return nil, nil
	}
	revised := bus.FactObject(fact)
	var list sourcev1.GitRepositoryList
	if err := w.Cluster.Cache.List(ctx, &list, client.InNamespace(revised.Namespace), client.MatchingFields{includeIndex: revised.Name}); err != nil {
		return nil, fmt.Errorf("find who includes %s: %w", revised, err)
	}
	var keys []types.NamespacedName
	for i := range list.Items {
		keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
	}
	return keys, nil
}

// includes returns the present artifacts of the sources that the spec includes, in its order.
func (w *Watcher) includes(ctx context.Context, repo *sourcev1.GitRepository) ([]*meta.Artifact, error) {
	var artifacts []*meta.Artifact
	for _, i := range repo.Spec.Include {
		artifact, err := w.include(ctx, repo, i.GitRepositoryRef.Name)
		if err != nil {
			return nil, err
		}
		artifacts = append(artifacts, artifact)
	}
	return artifacts, nil
}

func (w *Watcher) include(ctx context.Context, repo *sourcev1.GitRepository, name string) (*meta.Artifact, error) {
	key := types.NamespacedName{Namespace: repo.Namespace, Name: name}
	var source sourcev1.GitRepository
	err := w.Cluster.Client.Get(ctx, key, &source)
	if apierrors.IsNotFound(err) {
		return nil, noInclude(reasonNoSource, "could not get resource for include '%s': %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("could not get resource for include '%s': %w", name, err)
	}
	if err := w.checkCycle(ctx, repo, &source, map[string]bool{}); err != nil {
		return nil, err
	}
	// What is known of it is as fresh as the fact that may have woken us; its status comes a little later.
	var known state.Source
	if _, err := stage.ReadState(ctx, w.Bus, state.StageGit, key, &known); err != nil {
		return nil, fmt.Errorf("read the artifact of include '%s': %w", name, err)
	}
	if known.UID != source.UID || known.Artifact == nil {
		return nil, noInclude(reasonNoArtifact, "no artifact available for include '%s'", name)
	}
	return known.Artifact, nil
}

// checkCycle refuses sources that include each other: each new artifact of one would make one of the other, for ever.
func (w *Watcher) checkCycle(ctx context.Context, repo, source *sourcev1.GitRepository, met map[string]bool) error {
	if source.Name == repo.Name {
		return noInclude(reasonCycle, "git repository '%s' includes itself, by way of others or directly", repo.Name)
	}
	for _, i := range source.Spec.Include {
		name := i.GitRepositoryRef.Name
		if met[name] {
			continue
		}
		met[name] = true
		next := &sourcev1.GitRepository{}
		err := w.Cluster.Client.Get(ctx, types.NamespacedName{Namespace: repo.Namespace, Name: name}, next)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("follow the includes of '%s': %w", source.Name, err)
		}
		if err := w.checkCycle(ctx, repo, next, met); err != nil {
			return err
		}
	}
	return nil
}

// includedFiles reads the artifacts of a spec's includes and returns their files under their new paths.
func (w *Watcher) includedFiles(ctx context.Context, repo *sourcev1.GitRepository, artifacts []*meta.Artifact) ([]archive.File, error) {
	var files []archive.File
	left := archive.DefaultLimits().TotalBytes
	for n, i := range repo.Spec.Include {
		found, err := w.unpackInclude(ctx, repo.Namespace, i, artifacts[n], left)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			left -= f.Size
		}
		files = append(files, found...)
	}
	return files, nil
}

func (w *Watcher) unpackInclude(ctx context.Context, namespace string, i sourcev1.GitRepositoryInclude, artifact *meta.Artifact, limit int64) ([]archive.File, error) {
	name := i.GitRepositoryRef.Name
	data, err := w.Artifacts.Get(ctx, artifact.Digest)
	if errors.Is(err, bus.ErrArtifactNotFound) {
		key := types.NamespacedName{Namespace: namespace, Name: name}
		err = errors.Join(err, stage.Wake(ctx, w.Bus, state.StageGit, key, stage.Hint{Cause: "artifact lost"}))
		return nil, noInclude(reasonNoArtifact, "artifact of include '%s' is lost, asked for again: %w", name, err)
	}
	if err != nil {
		return nil, &storageError{err}
	}
	if got := archive.Digest(data); got != artifact.Digest {
		return nil, &storageError{fmt.Errorf("artifact of include '%s' has digest %s", name, got)}
	}
	unpacked, err := archive.UnpackFiles(ctx, bytes.NewReader(data), archive.Limits{TotalBytes: max(limit, 1)})
	if err != nil {
		return nil, noInclude(reasonCopy, "failed to unpack include '%s': %w", name, err)
	}
	files := place(unpacked, i.GetFromPath(), i.GetToPath())
	if len(files) == 0 {
		return nil, noInclude(reasonCopy, "failed to copy '%s' include from %s to %s: there is no such path", name, i.GetFromPath(), i.GetToPath())
	}
	return files, nil
}

// place moves what is at or below one path to another. Neither leads out of the tree, whatever it looks like.
func place(unpacked []archive.File, from, to string) []archive.File {
	from, to = path.Clean("/" + from)[1:], path.Clean("/" + to)[1:]
	var files []archive.File
	for _, f := range unpacked {
		rest, below := f.Path, from == ""
		if f.Path == from {
			rest, below = "", true
		} else if tail, ok := strings.CutPrefix(f.Path, from+"/"); ok && from != "" {
			rest, below = tail, true
		}
		if below {
			f.Path = path.Join(to, rest)
			files = append(files, f)
		}
	}
	return files
}
