package live

import (
	"encoding/json"
	"testing"
)

// What comes from the bus is a memo or an error, and is written as it was read.
func FuzzMemo(f *testing.F) {
	var m Memo
	m.entries = map[uint64]Entry{1: {Version: 2, Time: 3}, 1 << 63: {}}
	seed, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`"AAAA"`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again Memo
		if json.Unmarshal(data, &first) != nil {
			return
		}
		text, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil || again.Len() != first.Len() {
			t.Fatalf("%q became %q: %v", data, text, err)
		}
		for k, e := range first.entries {
			if again.entries[k] != e {
				t.Fatalf("%q became %q", data, text)
			}
		}
	})
}
