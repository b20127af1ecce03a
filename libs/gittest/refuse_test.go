package gittest

import (
	"strings"
	"testing"
)

func TestReadOnlyAndHooks(t *testing.T) {
	s, r := start(t, Options{})
	commit(t, r, Commit{Files: map[string]string{"a": "1"}})
	work := t.TempDir()
	for _, step := range [][]string{{"clone", "--quiet", s.URL("team/app"), "."}, {"commit", "--quiet", "--allow-empty", "--message", "one"}} {
		if out, err := git(t, work, nil, step...); err != nil {
			t.Fatal(out)
		}
	}
	push := func(want string) {
		t.Helper()
		out, err := git(t, work, nil, "push", "origin", "main")
		if (err == nil) != (want == "") || !strings.Contains(out, want) {
			t.Errorf("want %q: %v: %s", want, err, out)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(r.ReadOnly(t.Context(), true))
	push("403")
	check(r.ReadOnly(t.Context(), false))
	check(r.InstallHook("pre-receive", "echo 'not on a Friday' >&2; exit 1"))
	push("not on a Friday")
	check(r.InstallHook("pre-receive", ""))
	push("")
}
