package git

import (
	"net/url"
	"strings"
	"testing"
)

// What trees say may be refused, but never leads out of the tree.
func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("x", 20) + "40000 b\x00" + strings.Repeat("y", 20)))
	f.Add([]byte("160000 ..\x00" + strings.Repeat("x", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseTree(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.name == "" || e.name == "." || e.name == ".." || strings.ContainsAny(e.name, "/\x00") || strings.EqualFold(e.name, ".git") || len(e.hash) != 40 {
				t.Fatalf("%q was let through", e.name)
			}
		}
	})
}

// What is read of a commit is what its bytes say first, so that a signature over
// them is one over what is used.
func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n"))
	f.Add([]byte("tree x\ntree y\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseCommit("hash", raw)
		if err == nil && !strings.HasPrefix(string(raw), "tree "+c.tree+"\n") {
			t.Fatalf("%q has the tree %s", raw, c.tree)
		}
	})
}

// Where a submodule is relative to its repository, it is on the same host.
func FuzzSubmoduleURL(f *testing.F) {
	f.Add("../lib.git")
	f.Add("./..//x/@evil.example.com")
	f.Add("git@github.com:x")
	f.Fuzz(func(t *testing.T, address string) {
		of, err := url.Parse("https://git.example.com/team/app.git")
		if err != nil {
			t.Fatal(err)
		}
		u, err := submoduleURL(of, address)
		if err != nil {
			return
		}
		if (strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../")) && !sameOrigin(of, u) {
			t.Fatalf("%q leads to %s", address, u)
		}
		if u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh" || strings.HasPrefix(u.Host, "-") {
			t.Fatalf("%q becomes %s", address, u)
		}
	})
}

func FuzzDeltaStart(f *testing.F) {
	f.Add([]byte{0x80, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := new(deltaStart)
		if n, err := d.Write(data); n != len(data) || err != nil || d.targetSize() < 0 {
			t.Fatal(n, err, d.targetSize())
		}
	})
}
