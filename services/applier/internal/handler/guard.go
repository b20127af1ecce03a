package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/applier/internal/apply"
	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// The annotations of a Kustomization that concern the guard of prunes.
const (
	// AnnotationPruneAck acknowledges the prune whose plan it names.
	AnnotationPruneAck = "sluice.dev/prune-ack"
	// AnnotationPruneGuard switches the guard off for one Kustomization, by the value "disabled".
	AnnotationPruneGuard = "sluice.dev/prune-guard"
)

// ReasonPruneHeld is the reason of a Kustomization of which a prune waits for its acknowledgement.
const ReasonPruneHeld = "PruneHeld"

// PruneGuard says which prunes wait for an acknowledgement.
type PruneGuard struct {
	Off   bool
	Share float64 // of an inventory of guardedFrom objects or more; a prune of more waits. 1 or more: no share does
}

// guardedFrom is from how many objects on the share counts: of few, one is much.
const guardedFrom = 10

// precious are the kinds of which a prune takes away more than the object.
var precious = map[schema.GroupKind]bool{
	{Kind: "Namespace"}:             true,
	{Kind: "PersistentVolumeClaim"}: true,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: true,
}

// heldPrune is a prune that waits.
type heldPrune struct {
	plan   string
	why    string
	doomed inventory.Inventory
}

// holdPrune says whether a prune has to wait, nil if not.
func (a *Applier) holdPrune(j *job, old, new inventory.Inventory) *heldPrune {
	if a.PruneGuard.Off || j.k.Annotations[AnnotationPruneGuard] == "disabled" {
		return nil
	}
	held := &heldPrune{doomed: a.doomed(j, old.Difference(new))}
	if held.why = a.PruneGuard.objection(held.doomed, old, new); held.why == "" {
		return nil
	}
	if held.plan = planOf(j.k, held.doomed); j.k.Annotations[AnnotationPruneAck] == held.plan {
		return nil
	}
	return held
}

// doomed are the objects that a prune would delete: what is gone or belongs to another owner by now is not among them.
func (a *Applier) doomed(j *job, old inventory.Inventory) inventory.Inventory {
	watcher := a.watchers.of(j.run.Key, j.known.Cluster)
	if watcher == nil {
		return old
	}
	var doomed inventory.Inventory
	for id, version := range old.All() {
		if seen, ok := j.known.Objects.Get(id); !ok || !watcher.Elsewhere(j.run.Key, id, seen) {
			doomed.Add(id, version)
		}
	}
	return doomed
}

func (g PruneGuard) objection(doomed, old, new inventory.Inventory) string {
	if doomed.Len() == 0 {
		return ""
	}
	if new.Len() == 0 {
		return fmt.Sprintf("the rendered set is empty, so all %d objects would be deleted", doomed.Len())
	}
	for id := range doomed.All() {
		if precious[id.GroupKind()] {
			return fmt.Sprintf("%s would be deleted, with all that depends on it", id.Subject())
		}
	}
	if share := float64(doomed.Len()) / float64(old.Len()); old.Len() >= guardedFrom && share > g.Share {
		return fmt.Sprintf("%d of %d objects would be deleted, more than %.0f %%", doomed.Len(), old.Len(), 100*g.Share)
	}
	return ""
}

// planOf names a prune: these objects, of this state of the application. An acknowledgement of it is good for no other.
func planOf(k *kustomizev1.Kustomization, doomed inventory.Inventory) string {
	h := sha256.New()
	fmt.Fprintln(h, k.UID, k.Status.LastAppliedRevision)
	for id := range doomed.All() {
		fmt.Fprintln(h, id.String())
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// maxHeld caps the objects that a message names.
const maxHeld = 20

// held writes that the set was applied, that a prune waits, and how to let it go on.
func (a *Applier) held(ctx context.Context, j *job, held *heldPrune, result *apply.Result) (stage.Result, error) {
	var names []string
	for id := range held.doomed.All() {
		if len(names) == maxHeld {
			names = append(names, fmt.Sprintf("and %d more", held.doomed.Len()-maxHeld))
			break
		}
		names = append(names, id.Subject())
	}
	message := fmt.Sprintf("Applied revision %s, but the prune waits for an acknowledgement: %s. To go on: kubectl annotate kustomization %s -n %s --overwrite %s=%s\n%s",
		j.rendered.SourceRevision, held.why, j.k.Name, j.k.Namespace, AnnotationPruneAck, held.plan, strings.Join(names, "\n"))
	j.known.Held, j.known.Begun = held.plan, nil
	return a.failed(ctx, j, &fault{reason: ReasonPruneHeld, message: message, patient: true})
}
