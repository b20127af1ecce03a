package e2e

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/e2e/harness"
)

// world is what all tests share; TestMain sets it before any runs.
var world *harness.World

var seed = flag.Uint64("seed", 0, "seed of everything that is random; 0 takes one from the clock")

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, func(w *harness.World) { world = w }))
}

// random makes a source of random numbers and says how to get the same again.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("random with -seed=%d", s)
	return rand.New(rand.NewPCG(s, s))
}

func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// settle is how long anything may take on a slow machine when nothing stands in its way.
const settle = 30 * time.Second
