package chaos

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// world is what all tests share; TestMain sets it before any runs.
var world *harness.World

var (
	seed    = flag.Uint64("seed", 1, "seed of the faults: which, when, for how long")
	minutes = flag.Float64("minutes", 2, "how long faults are made")
	report  = flag.String("report", "", "file for the report, in Markdown; a relative one lies in the repository's root")
	only    = flag.String("only", "", "regular expression of the faults to make; empty makes all")
)

const (
	// bound is how long it may take after a fault until everything is at the last commit.
	bound = 90 * time.Second
	// lockTime is how long a stage's lock outlives its holder.
	lockTime = 6 * time.Second
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, func(w *harness.World) { world = w }))
}

// TestChaos makes one fault or two at a time, under load, until the time is over.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	if world.Plane.Given() {
		t.Skip("a given API server cannot be stopped")
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d, %v minutes", *seed, *minutes)
	r := newRun(t, *seed, wanted)
	r.run(time.Duration(*minutes * float64(time.Minute)))
	r.judgeTold()
	r.judge()
	text := r.report()
	t.Log("\n" + text)
	if *report == "" {
		return
	}
	if !filepath.IsAbs(*report) {
		*report = filepath.Join(world.Root, *report)
	}
	if err := os.WriteFile(*report, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}
