package apply

import "strings"

// The annotations and labels that say how an object wants to be treated. Flux reads its own in
// labels as well as in annotations and in any case of letters.
const (
	annotationReconcile = "kustomize.toolkit.fluxcd.io/reconcile"
	annotationApply     = "kustomize.toolkit.fluxcd.io/ssa"
	annotationForce     = "kustomize.toolkit.fluxcd.io/force"
	annotationPrune     = "kustomize.toolkit.fluxcd.io/prune"
	labelOwnerName      = "kustomize.toolkit.fluxcd.io/name"
	labelOwnerNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

// policy is how one object, as written or as found in the cluster, wants to be treated.
type policy struct {
	// paused objects are neither changed nor pruned. It holds why.
	paused string
	// kept objects are not pruned. It holds why.
	kept string
	// ifNotPresent objects are created and then left to others.
	ifNotPresent bool
	// merge leaves the fields of other tools alone, also where these apply.
	merge bool
	// force lets an object be replaced if a change to it is refused.
	force bool
}

func policyOf(labels, annotations map[string]string) policy {
	says := func(key, value string) bool {
		return strings.EqualFold(labels[key], value) || strings.EqualFold(annotations[key], value)
	}
	p := policy{
		ifNotPresent: says(annotationApply, "IfNotPresent"),
		merge:        says(annotationApply, "Merge"),
		force:        says(annotationForce, "enabled"),
	}
	switch {
	case says(annotationReconcile, "disabled"):
		p.paused = annotationReconcile + " is disabled"
	case says(annotationApply, "Ignore"):
		p.paused = annotationApply + " is Ignore"
	}
	if says(annotationPrune, "disabled") {
		p.kept = annotationPrune + " is disabled"
	}
	return p.withFlux1(annotations)
}

// withFlux1 adds what the annotations of Flux v1 say: "true" means leave alone, in Git or in the
// cluster; "sync_only" means apply, but do not prune.
func (p policy) withFlux1(annotations map[string]string) policy {
	for _, key := range []string{"fluxcd.io/ignore", "flux.weave.works/ignore"} {
		switch annotations[key] {
		case "true":
			p.paused = key + " is true"
		case "sync_only":
			p.kept = key + " is sync_only"
		}
	}
	return p
}

// keepsFromPrune returns why an object must not be pruned, or nothing.
func (p policy) keepsFromPrune() string {
	if p.paused != "" {
		return p.paused
	}
	return p.kept
}
