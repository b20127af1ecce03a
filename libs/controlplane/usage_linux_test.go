package controlplane

import (
	"errors"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	text := "17 (a (b) c) S 1 17 17 0 -1 0 0 0 0 0 250 50 0 0 20 0 9 0 100 4096000 12 0"
	usage, err := parseStat(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Usage{CPUSeconds: 3, ResidentBytes: 12 * int64(os.Getpagesize())}); usage != want {
		t.Errorf("usage = %+v, want %+v", usage, want)
	}
	for _, text := range []string{"", "17 (a) S 1", "17 (a) S 1 17 17 0 -1 0 0 0 0 0 x 50 0 0 20 0 9 0 100 4096000 12 0"} {
		if _, err := parseStat(text); !errors.Is(err, errStat) {
			t.Errorf("parseStat(%q): %v, want errStat", text, err)
		}
	}
}
