package tempdir

import (
	"errors"
	"os"
	"runtime"
	"testing"
)

func TestNewRemovesTheFoldersOfKilledProcesses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks there")
	}
	t.Setenv("TMPDIR", t.TempDir())
	open := func(prefix string) *Dir {
		d, err := New(prefix)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	killed, living, other := open("a-"), open("a-"), open("b-")
	killed.unlock() // as the end of a process does
	other.unlock()
	next := open("a-")
	for _, c := range []struct {
		name  string
		dir   *Dir
		there bool
	}{{"killed", killed, false}, {"living", living, true}, {"other prefix", other, true}, {"new", next, true}} {
		if _, err := os.Stat(c.dir.Path); errors.Is(err, os.ErrNotExist) == c.there {
			t.Errorf("folder %s: %v, want there = %t", c.name, err, c.there)
		}
	}
	if err := next.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(next.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder after Remove: %v", err)
	}
}
