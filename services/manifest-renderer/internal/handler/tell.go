package handler

import (
	"context"
	"fmt"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
)

// factOf tells of an outcome.
func factOf(k *kustomizev1.Kustomization, last, next state.Rendered, started time.Time, failure *faultError) *factsv1.Fact {
	fact := &factsv1.Fact{
		Id:     fmt.Sprintf("%s/rendered/%d/%d", k.UID, k.Generation, started.UnixNano()),
		Object: kube.KustomizationReference(k), Revision: next.SourceRevision,
	}
	if failure != nil {
		fact.Kind = &factsv1.Fact_RenderFailed{RenderFailed: &factsv1.RenderFailed{
			Reason: failure.reason, Message: failure.Error(), Retryable: failure.passing(), Unchanged: failsAsBefore(last, next),
		}}
		return fact
	}
	fact.Kind = &factsv1.Fact_ManifestsRendered{ManifestsRendered: &factsv1.ManifestsRendered{
		SetDigest: next.Set, SourceRevision: next.SourceRevision, Generation: next.Generation, ObjectCount: int32(next.Objects),
		Unchanged: last.Set == next.Set, Duration: durationpb.New(time.Since(started)),
	}}
	return fact
}

// failsAsBefore says whether a failure is that of the last render, of which nothing that it read is different.
func failsAsBefore(last, next state.Rendered) bool {
	return next.FailedReadSet != "" && next.FailedReadSet == last.FailedReadSet && next.Generation == last.Generation && next.SourceRevision != last.SourceRevision
}

// Report leaves for applier, which writes the status, what a run could not say itself.
func (h *Handler) Report(ctx context.Context, run *stage.Run, failure error) {
	k := &kustomizev1.Kustomization{}
	if err := h.Cluster.Client.Get(ctx, run.Key, k); err != nil {
		return
	}
	var last state.Rendered
	if _, err := run.Load(&last); err != nil || last.UID != k.UID {
		last = state.Rendered{UID: k.UID}
	}
	next := last
	next.Generation, next.RequestedAt, next.At = k.Generation, kube.RequestedAt(k), time.Now()
	next.Reason, next.Message = meta.BuildFailedReason, "internal error: "+failure.Error()
	next.FailedReadSet = ""
	if err := run.Save(ctx, next); err != nil {
		run.Log.Warn("cannot report", "err", err)
		return
	}
	fault := &faultError{reason: next.Reason, error: fmt.Errorf("internal error: %w", failure)}
	if err := run.Tell(ctx, factOf(k, last, next, next.At, fault)); err != nil {
		run.Log.Warn("cannot report", "err", err)
	}
}
