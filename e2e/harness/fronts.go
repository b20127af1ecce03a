package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/libs/disktest"
	"github.com/sluice-cd/sluice/libs/localrun"
)

// Sizes of the small disks: the bus wants more than it reserves for facts.
const (
	busDiskBytes    = 512 << 20
	mirrorDiskBytes = 64 << 20
)

// startFronts puts proxies before the bus, two so that one half of the replicas can be cut off, and a front before the API server.
func (e *Env) startFronts(run *localrun.Options) {
	e.t.Helper()
	e.BusFronts = []*Proxy{StartProxy(e.t, ""), StartProxy(e.t, "")}
	run.NATSURL = func(replica string) string { return "nats://" + e.FrontOf(replica).Addr() }
	e.API = e.StartAPIFront(e.t, e.Dir)
	run.Kubeconfig = e.API.Kubeconfig
}

// FrontOf is the proxy by which a replica reaches the bus.
func (e *Env) FrontOf(replica string) *Proxy {
	_, number, _ := strings.Cut(replica[strings.LastIndex(replica, "-"):], "-")
	n, err := strconv.Atoi(number)
	if err != nil {
		e.t.Errorf("replica %q has no number", replica)
	}
	return e.BusFronts[n%len(e.BusFronts)]
}

// mountDisks mounts what it may and says aloud what it may not.
func (e *Env) mountDisks(run *localrun.Options) {
	e.t.Helper()
	var err error
	if e.BusDisk, err = disktest.New(e.t, filepath.Join(e.Dir, "bus-disk"), busDiskBytes); err != nil {
		e.t.Logf("NO FULL DISKS IN THIS TEST: %v", err)
		return
	}
	if e.MirrorDisk, err = disktest.New(e.t, filepath.Join(e.Dir, "mirror-disk"), mirrorDiskBytes); err != nil {
		e.t.Fatal(err)
	}
	run.BusDir, run.MirrorsDir = filepath.Join(e.BusDisk.Path, "bus"), e.MirrorDisk.Path
	if err := os.Mkdir(run.BusDir, 0o700); err != nil {
		e.t.Fatal(err)
	}
}
