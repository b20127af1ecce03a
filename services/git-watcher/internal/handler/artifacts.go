package handler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
)

const artifactSuffix = ".tar.gz"

// artifactPath is where an artifact is served: gitrepository/<namespace>/<name>/<sha256>.tar.gz. The digest finds it; the rest is for people.
func artifactPath(key types.NamespacedName, digest string) string {
	return "gitrepository/" + key.Namespace + "/" + key.Name + "/" + strings.TrimPrefix(digest, "sha256:") + artifactSuffix
}

// ServeArtifacts serves stored artifacts to whoever knows their digest, as consumers of Flux's sources expect.
func ServeArtifacts(store bus.ArtifactStore) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /gitrepository/{namespace}/{name}/{file}", func(w http.ResponseWriter, r *http.Request) {
		hash, ok := strings.CutSuffix(r.PathValue("file"), artifactSuffix)
		if !ok {
			http.NotFound(w, r)
			return
		}
		body, err := store.Open(r.Context(), "sha256:"+hash)
		if errors.Is(err, bus.ErrArtifactNotFound) {
			http.NotFound(w, r)
			return
		}
		if err != nil {
			http.Error(w, "artifact store unavailable", http.StatusServiceUnavailable)
			return
		}
		defer body.Close()
		w.Header().Set("Content-Type", "application/gzip")
		_, _ = io.Copy(w, body)
	})
	return mux
}

// NamedArtifacts returns the digests that any GitRepository names, in its status or in what is known of it: from the API server and the bus,
// not from a cache.
func NamedArtifacts(cluster *kube.Cluster, b *bus.Conn) func(context.Context) (map[string]bool, error) {
	return func(ctx context.Context) (map[string]bool, error) {
		var list sourcev1.GitRepositoryList
		if err := cluster.Client.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list git repositories: %w", err)
		}
		known, err := stage.ListStates[state.Source](ctx, b, state.StageGit, "")
		if err != nil {
			return nil, err
		}
		named := map[string]bool{}
		for i := range list.Items {
			if a := list.Items[i].Status.Artifact; a != nil {
				named[a.Digest] = true
			}
		}
		for _, s := range known {
			if s.Artifact != nil {
				named[s.Artifact.Digest] = true
			}
		}
		return named, nil
	}
}
