package app

import (
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// limitArtifacts lets no small artifact above a size in bytes into the store; -1 takes the limit away.
func (w *world) limitArtifacts(bytes int32) {
	w.Helper()
	stream, err := w.bus.JS.Stream(w.Context(), "SMALL_"+bus.BucketArtifacts)
	w.do(err)
	limited := stream.CachedInfo().Config
	limited.MaxMsgSize = bytes
	_, err = w.bus.JS.UpdateStream(w.Context(), limited)
	w.do(err)
}

// TestStoreRefuses: a store that refuses is tried again in silence at first; people are told when it goes on, and all is well by itself when it
// takes again.
func TestStoreRefuses(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	r := w.repository("app", "a", "1")
	w.create("app", nil)
	w.until("app", "an artifact", func(repo *sourcev1.GitRepository) bool { return repo.Status.Artifact != nil })
	w.limitArtifacts(1)
	next := w.commit(r, "a", "2")
	began := time.Now()
	w.poke("app")
	w.fails("app", sourcev1.StorageOperationFailedCondition, "True/StorageOperationFailed")
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("told after %s, which may be no more than a restart of the bus", took)
	}
	w.limitArtifacts(-1)
	w.ready("app", next)
}
