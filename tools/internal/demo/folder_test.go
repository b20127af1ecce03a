package demo

import (
	"errors"
	"os"
	"runtime"
	"testing"
)

func TestNewFolderRemovesThoseOfKilledDemos(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks there")
	}
	t.Setenv("TMPDIR", t.TempDir())
	open := func(keep bool) *folder {
		f, err := newFolder(keep)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	killed, living, kept := open(false), open(false), open(true)
	killed.unlock() // as the end of a process does
	next := open(false)
	for _, c := range []struct {
		name   string
		folder *folder
		there  bool
	}{{"killed", killed, false}, {"living", living, true}, {"kept", kept, true}, {"new", next, true}} {
		if _, err := os.Stat(c.folder.path); errors.Is(err, os.ErrNotExist) == c.there {
			t.Errorf("folder of the %s demo: %v, want there = %t", c.name, err, c.there)
		}
	}
	if err := next.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(next.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder after remove: %v", err)
	}
}
