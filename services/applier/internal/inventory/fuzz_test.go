package inventory

import "testing"

// An id that can be read is written as it was: otherwise an object would count as gone from the set, and be pruned.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"apps_web_apps_Deployment", "_system__a__b_rbac.authorization.k8s.io_ClusterRole", "a_b_c", "___", "a___b__ConfigMap", "_a:b_rbac.authorization.k8s.io_Role"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if id.Name == "" || id.Kind == "" {
			t.Fatalf("%q is %+v", text, id)
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Fatalf("%q is %+v, written %q, which is %+v, %v", text, id, id, again, err)
		}
	})
}
