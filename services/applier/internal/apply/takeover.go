package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// appliers are the managers of tools that apply whole manifests. A field that only they own would
// stay in the cluster after it went away from Git, so their claims become ours. Names that begin
// with kubectl are kubectl's, whichever verb it was.
var appliers = []string{
	"before-first-apply", "kustomize-controller", "flux", "argocd-controller", "argocd-application-controller",
}

// isOwn reports whether an entry is what we applied.
func isOwn(entry metav1.ManagedFieldsEntry, manager string) bool {
	return entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// isForeign reports whether an entry is of a tool whose claims become ours. Our own updates, made by
// other means than apply, count too.
func isForeign(entry metav1.ManagedFieldsEntry, manager string) bool {
	if entry.Subresource != "" || isOwn(entry, manager) {
		return false
	}
	return entry.Manager == manager || strings.HasPrefix(entry.Manager, "kubectl") || slices.Contains(appliers, entry.Manager)
}

// takeOver moves the claims of other tools to our manager. The apply that follows then removes the
// fields that are not in Git.
func (a *attempt) takeOver(ctx context.Context) error {
	entries, err := merged(a.managedFields, a.engine.config.FieldManager, a.gvk.GroupVersion().String())
	if err != nil {
		return fmt.Errorf("merge managed fields: %w", err)
	}
	body, err := json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": a.live.ResourceVersion},
	})
	if err != nil {
		return err
	}
	if err := a.guard(ctx); err != nil {
		return err
	}
	answer, err := a.engine.client.patch(ctx, a.at, body)
	if err != nil {
		return err
	}
	a.observe(answer)
	a.changed, a.note = true, "the fields of other tools were taken over"
	return nil
}

// merged returns the entries with those of other tools made part of our own.
func merged(entries []metav1.ManagedFieldsEntry, manager, apiVersion string) ([]metav1.ManagedFieldsEntry, error) {
	var rest []metav1.ManagedFieldsEntry
	var base *metav1.ManagedFieldsEntry
	claims := &fieldpath.Set{}
	for _, entry := range entries {
		if !isOwn(entry, manager) && !isForeign(entry, manager) {
			rest = append(rest, entry)
			continue
		}
		fields, err := fieldsOf(entry)
		if err != nil {
			return nil, err
		}
		claims = claims.Union(fields)
		if base == nil || base.APIVersion != apiVersion {
			base = &entry
		}
	}
	if base == nil {
		return entries, nil
	}
	raw, err := claims.ToJSON()
	if err != nil {
		return nil, err
	}
	own := metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply,
		APIVersion: base.APIVersion, Time: base.Time,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)),
	}
	return append(rest, own), nil
}

func fieldsOf(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	fields := &fieldpath.Set{}
	if entry.FieldsV1 == nil {
		return fields, nil
	}
	if err := fields.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return nil, fmt.Errorf("read the fields of %q: %w", entry.Manager, err)
	}
	return fields, nil
}
