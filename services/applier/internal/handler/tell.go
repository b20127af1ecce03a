package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-cd/sluice/libs/kube"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// maxTold caps the objects that a fact names.
const maxTold = 200

func (j *job) fact(kind string) *factsv1.Fact {
	return &factsv1.Fact{
		Id:     fmt.Sprintf("%s/%s/%d/%d", j.k.UID, kind, j.k.Generation, j.started.UnixNano()),
		Object: kube.KustomizationReference(j.k), Revision: j.rendered.SourceRevision,
	}
}

// tellSuccess publishes what was applied, what was pruned, and whether that repaired drift.
func (a *Applier) tellSuccess(ctx context.Context, j *job, applied, pruned []apply.Change, repaired bool) error {
	all, changed := append(append([]apply.Change{}, applied...), pruned...), changes(applied, pruned)
	objects := changedObjects(changed)
	fact := j.fact("applied")
	fact.Kind = &factsv1.Fact_Applied{Applied: &factsv1.Applied{
		Revision: j.rendered.SourceRevision, Counts: counts(all), ChangedObjects: objects,
		ChangedObjectsComplete: len(objects) == len(changed), Duration: durationpb.New(time.Since(j.started)),
		HealthAwaited: j.awaitsHealth,
	}}
	facts := []*factsv1.Fact{fact}
	if gone := changes(pruned); len(gone) > 0 {
		f := j.fact("pruned")
		f.Kind = &factsv1.Fact_Pruned{Pruned: &factsv1.Pruned{Objects: references(gone), ObjectCount: int32(len(gone))}}
		facts = append(facts, f)
	}
	if drifted := changes(applied); repaired && len(drifted) > 0 {
		f := j.fact("drift-repaired")
		f.Kind = &factsv1.Fact_DriftRepaired{DriftRepaired: &factsv1.DriftRepaired{Objects: changedObjects(drifted), ObjectCount: int32(len(drifted))}}
		facts = append(facts, f)
	}
	for _, f := range facts {
		if err := j.run.Tell(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func applyFailedFact(j *job, f *fault) *factsv1.Fact {
	failed := &factsv1.ApplyFailed{Reason: f.reason, Message: f.message}
	var failures *apply.Failures
	if errors.As(f.cause, &failures) {
		for _, o := range failures.Objects[:min(len(failures.Objects), maxTold)] {
			failed.FailedObjects = append(failed.FailedObjects, &factsv1.FailedObject{Object: objectReference(o.Object, ""), Message: o.Message})
		}
	}
	fact := j.fact("apply-failed")
	fact.Kind = &factsv1.Fact_ApplyFailed{ApplyFailed: failed}
	return fact
}

func counts(all []apply.Change) *factsv1.ApplyCounts {
	c := &factsv1.ApplyCounts{}
	for _, change := range all {
		switch change.Action {
		case apply.Created:
			c.Created++
		case apply.Configured:
			c.Configured++
		case apply.Unchanged:
			c.Unchanged++
		case apply.Deleted:
			c.Pruned++
		case apply.Skipped:
			c.Skipped++
		}
	}
	return c
}

var actions = map[apply.Action]factsv1.ChangeAction{
	apply.Created:    factsv1.ChangeAction_CHANGE_ACTION_CREATED,
	apply.Configured: factsv1.ChangeAction_CHANGE_ACTION_CONFIGURED,
	apply.Deleted:    factsv1.ChangeAction_CHANGE_ACTION_PRUNED,
}

func changedObjects(changed []apply.Change) []*factsv1.ChangedObject {
	out := make([]*factsv1.ChangedObject, 0, min(len(changed), maxTold))
	for _, c := range changed[:cap(out)] {
		out = append(out, &factsv1.ChangedObject{Object: objectReference(c.ID, c.Version), Action: actions[c.Action]})
	}
	return out
}

func references(changed []apply.Change) []*factsv1.ObjectReference {
	out := make([]*factsv1.ObjectReference, 0, min(len(changed), maxTold))
	for _, c := range changed[:cap(out)] {
		out = append(out, objectReference(c.ID, c.Version))
	}
	return out
}

func objectReference(id inventory.ID, version string) *factsv1.ObjectReference {
	api := version
	if id.Group != "" {
		api = id.Group + "/" + version
	}
	return &factsv1.ObjectReference{ApiVersion: api, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}
