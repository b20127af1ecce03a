package tree

import (
	"encoding/json"
	"testing"
)

// A read-set comes from the store of sets and paths from a fact: whatever they say, they are answered.
func FuzzReadSet(f *testing.F) {
	f.Add([]byte(`{"v":1,"r":{"a":"d","a/b":"fAAAA","c":"-",".":"lAAAA"}}`), "a/b")
	f.Add([]byte(`{"v":1,"r":{"/":"-"}}`), "/a/b")
	f.Add([]byte(`{"v":2,"r":{"a":""}}`), "..")
	f.Add([]byte(`{"v":1,"r":{"a":""}}`), "")
	files, err := New(map[string][]byte{"a/b": []byte("text"), "d": nil})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		var s ReadSet
		if json.Unmarshal(data, &s) != nil {
			return
		}
		s.Touched([]string{path, "/" + path})
		if where, changed := s.Changed(files); changed == s.Unchanged(files) {
			t.Fatalf("changed at %q, and unchanged", where)
		}
		if s.Len() == 0 && s.facts == nil && s.Unchanged(files) {
			t.Fatal("who knows nothing says that nothing changed")
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again ReadSet
		if err := json.Unmarshal(text, &again); err != nil || again.Len() != s.Len() {
			t.Fatalf("%q became %q: %v", data, text, err)
		}
	})
}
