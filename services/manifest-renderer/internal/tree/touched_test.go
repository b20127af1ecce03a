package tree

import "testing"

func TestTouched(t *testing.T) {
	s := ReadSet{facts: map[string]string{"app": "d", "app/a.yaml": "f0", "list": "l0", "gone": "-", "list/sub/b.yaml": "f0"}}
	for path, want := range map[string]bool{
		"app/a.yaml": true, "app/other.yaml": false, "docs/README": false, "list/new.yaml": true, "list/new/c.yaml": true, "list/sub/b.yaml": true,
		"gone": true, "gone/a.yaml": true, "listed": false,
	} {
		if got := s.Touched([]string{"zzz", path}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if !(ReadSet{}).Touched([]string{"a"}) || s.Touched(nil) {
		t.Error("a read-set that knows nothing counts as untouched, or no change as one")
	}
}
