package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// definition is a CRD that is applied in the same run as objects of its kind. How the kind is served
// is read from it, so that no discovery, which lags behind, is needed.
type definition struct {
	crd  *desired
	kind schema.GroupKind
	spec apiextensionsv1.CustomResourceDefinitionSpec
	// established and problem are what the API server last said of the CRD.
	established bool
	problem     string
	// changed says that this run changed it: servers may need a moment to serve what is new.
	changed bool
}

// definitionOf returns the definition if d is a CRD, and nil otherwise. CRDs that cannot be read
// define nothing; the API server will say what is wrong with them.
func definitionOf(d *desired) *definition {
	if !isCRD(d.gvk) || d.gvk.Version != "v1" {
		return nil
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.object, &crd); err != nil {
		return nil
	}
	kind := schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}
	return &definition{crd: d, kind: kind, spec: crd.Spec}
}

// serves returns how the CRD will serve a version of its kind.
func (f *definition) serves(version string) (resource, bool) {
	for _, v := range f.spec.Versions {
		if v.Name == version && v.Served {
			gv := schema.GroupVersion{Group: f.kind.Group, Version: version}
			return resource{
				gvr:        gv.WithResource(f.spec.Names.Plural),
				namespaced: f.spec.Scope == apiextensionsv1.NamespaceScoped,
			}, true
		}
	}
	return resource{}, false
}

// observe reads from the CRD, as the API server answered it, whether its kind is served.
func (f *definition) observe(raw []byte) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal(raw, &crd); err != nil {
		f.problem = "its state cannot be read"
		return
	}
	f.established, f.problem = false, ""
	for _, c := range crd.Status.Conditions {
		switch {
		case c.Type == apiextensionsv1.Established:
			f.established = c.Status == apiextensionsv1.ConditionTrue
		case c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse:
			f.problem = c.Message
		}
	}
}

// waiting returns the error for an object that has to wait for the definition.
func (f *definition) waiting() error {
	if f.problem != "" {
		return &pending{fmt.Sprintf("%s is not established: %s", f.crd.id.Subject(), shorten(f.problem, messageLimit))}
	}
	return &pending{f.crd.id.Subject() + " is not established yet"}
}

// The first and the longest pause between two looks at something that is about to happen.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// pause waits a little before something is looked at again, and returns how long to wait next time.
// It reports false if that would be after the deadline, or if the context ended.
func pause(ctx context.Context, length time.Duration, deadline time.Time) (time.Duration, bool) {
	if time.Now().Add(length).After(deadline) {
		return length, false
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return min(2*length, longestPause), true
	case <-ctx.Done():
		return length, false
	}
}

// await looks at the definition until it is established or the run's deadline for waiting is over.
// Failures to look count as not yet: the object that needs it is pending then.
func (r *run) await(ctx context.Context, f *definition) {
	length, more := firstPause, f.crd.missing == nil
	for !f.established && more {
		if answer, err := r.engine.client.getWhole(ctx, f.crd.at); err == nil {
			f.observe(answer.raw)
		}
		if !f.established {
			length, more = pause(ctx, length, r.deadline())
		}
	}
}
