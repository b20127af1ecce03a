package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
)

func TestID(t *testing.T) {
	for name, tc := range map[string]struct {
		id      ID
		stored  string
		subject string
	}{
		"namespaced": {ID{"apps", "web", "apps", "Deployment"}, "apps_web_apps_Deployment", "Deployment/apps/web"},
		"core group": {ID{"apps", "web", "", "Service"}, "apps_web__Service", "Service/apps/web"},
		"cluster":    {ID{"", "apps", "", "Namespace"}, "_apps__Namespace", "Namespace/apps"},
		"dots":       {ID{"", "a.b.io", "apiextensions.k8s.io", "CustomResourceDefinition"}, "_a.b.io_apiextensions.k8s.io_CustomResourceDefinition", "CustomResourceDefinition/a.b.io"},
		"colons": {ID{"", "system:a:b", rbacGroup, "ClusterRole"},
			"_system__a__b_rbac.authorization.k8s.io_ClusterRole", "ClusterRole/system:a:b"},
		"underscore": {ID{"apps", "a_b", rbacGroup, "Role"}, "apps_a_b_rbac.authorization.k8s.io_Role", "Role/apps/a_b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.id.String(); got != tc.stored {
				t.Errorf("String() = %q, want %q", got, tc.stored)
			}
			if got := tc.id.Subject(); got != tc.subject {
				t.Errorf("Subject() = %q, want %q", got, tc.subject)
			}
			got, err := ParseID(tc.stored)
			if err != nil || got != tc.id {
				t.Errorf("ParseID(%q) = %+v, %v, want %+v", tc.stored, got, err, tc.id)
			}
		})
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{"", "_", "__", "___", "a_b", "a_b_c", "a__group_Kind", "a_b_group_"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %+v, want an error", s, id)
		}
	}
}

// An RBAC name with two underscores of its own is read with a colon, so the set must compare by
// the stored form: otherwise the object would count as gone from the set, and be pruned.
func TestAmbiguousNameIsTheSameObject(t *testing.T) {
	var now Inventory
	now.Add(ID{"", "a__b", rbacGroup, "ClusterRole"}, "v1")
	before, err := FromStatus(now.ToStatus())
	if err != nil {
		t.Fatal(err)
	}
	if got := before.Difference(now); got.Len() != 0 {
		t.Errorf("Difference has %d objects, want none", got.Len())
	}
}

func TestStatus(t *testing.T) {
	status := &kustomizev1.ResourceInventory{Entries: []kustomizev1.ResourceRef{
		{ID: "b_x__ConfigMap", Version: "v1"},
		{ID: "nonsense", Version: "v1"},
		{ID: "a_x_apps_Deployment", Version: "v1"},
	}}
	inv, err := FromStatus(status)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error = %v, want one that names the bad entry", err)
	}
	want := []kustomizev1.ResourceRef{{ID: "a_x_apps_Deployment", Version: "v1"}, {ID: "b_x__ConfigMap", Version: "v1"}}
	if diff := cmp.Diff(want, inv.ToStatus().Entries); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyStatus(t *testing.T) {
	inv, err := FromStatus(nil)
	if err != nil || inv.Len() != 0 {
		t.Errorf("FromStatus(nil) = %d objects, %v", inv.Len(), err)
	}
	if got := inv.ToStatus(); got.Entries == nil || len(got.Entries) != 0 {
		t.Errorf("ToStatus() = %#v, want entries that are empty, not nil", got)
	}
}

func TestUnionAndDifference(t *testing.T) {
	a, b, c := ID{"n", "a", "", "ConfigMap"}, ID{"n", "b", "", "ConfigMap"}, ID{"n", "c", "", "ConfigMap"}
	var left, right Inventory
	left.Add(a, "v1")
	left.Add(b, "v1")
	right.Add(b, "v2")
	right.Add(c, "v2")

	if diff := cmp.Diff(map[ID]string{a: "v1", b: "v2", c: "v2"}, asMap(left.Union(right))); diff != "" {
		t.Error("union:", diff)
	}
	if diff := cmp.Diff(map[ID]string{a: "v1"}, asMap(left.Difference(right))); diff != "" {
		t.Error("difference:", diff)
	}
	if left.Len() != 2 || right.Len() != 2 {
		t.Error("the operands were changed")
	}
}

func asMap(i Inventory) map[ID]string {
	got := map[ID]string{}
	for id, version := range i.All() {
		got[id] = version
	}
	return got
}
