package demo

import (
	"strings"
	"testing"
)

func TestStepsFitTheExample(t *testing.T) {
	same := func(text string) string { return text }
	f, err := firstFiles(same)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps(func(tag string) string { return exampleRegistry + "/" + followed + ":" + tag }) {
		if len(s.edits) == 0 && s.tag == "" || len(s.wants) == 0 {
			t.Errorf("%s: a step changes something and wants something", s.title)
		}
		for _, e := range s.edits {
			if err := e.apply(f); err != nil {
				t.Errorf("%s: %v", s.title, err)
			}
		}
	}
	if _, there := f["guestbook/cache.yaml"]; there {
		t.Error("the cache is still there after the last commit")
	}
	if !strings.Contains(f["guestbook/frontend.yaml"], "\n  replicas: 4\n") {
		t.Errorf("the frontend has not four replicas after the last commit:\n%s", f["guestbook/frontend.yaml"])
	}
}

func TestEditThatDoesNotFit(t *testing.T) {
	for name, e := range map[string]edit{
		"no such file":     {file: "b", from: "x", to: "y"},
		"no such text":     {file: "a", from: "y", to: "z"},
		"text twice":       {file: "a", from: "x", to: "y"},
		"no such addition": {file: "c", add: "none.yaml"},
	} {
		if err := e.apply(files{"a": "x x"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEditInWords(t *testing.T) {
	for want, e := range map[string]edit{
		"a.yaml: new file":                  {file: "a.yaml", add: "cache.yaml"},
		"a.yaml: removed":                   {file: "a.yaml", remove: true},
		"a.yaml: replicas: 2 → replicas: 3": {file: "a.yaml", from: "  replicas: 2\n", to: "  replicas: 3\n"},
		`a.yaml: "  x: 1" → "   x: 1"`:      {file: "a.yaml", from: "\n  x: 1", to: "\n   x: 1"},
	} {
		if got := e.String(); got != want {
			t.Errorf("edit is told as %q, want %q", got, want)
		}
	}
}

func TestCustomResourcesNameTheRepository(t *testing.T) {
	all, err := customResources("http://127.0.0.1:1/fleet.git", func(text string) string { return text })
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, u := range all {
		kinds[u.GetKind()]++
		if u.GetLabels()[partOf] != partOfDemo {
			t.Errorf("%s has no label of the demo", refOf(u))
		}
		if u.GetKind() == "GitRepository" && at(u.Object, "spec", "url") != "http://127.0.0.1:1/fleet.git" {
			t.Errorf("the repository's address is %q", at(u.Object, "spec", "url"))
		}
	}
	if kinds["GitRepository"] != 1 || kinds["Kustomization"] != 4 {
		t.Errorf("kinds = %v, want one GitRepository and four Kustomizations", kinds)
	}
}
