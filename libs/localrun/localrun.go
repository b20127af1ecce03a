// Package localrun runs an installation of Sluice on this machine as it runs in a cluster: the bus and each replica of each service
// as a process of its own. The demo, the end-to-end tests and the benchmarks stand on it.
package localrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/process"
	"github.com/sluice-cd/sluice/libs/seal"
)

// Services are the programs of an installation, ImageServices those of one that follows images, HookServices those of one that hosts call,
// TellServices those of one that tells people.
var (
	Services      = []string{"git-watcher", "manifest-renderer", "applier"}
	ImageServices = []string{"registry-scanner", "image-updater"}
	HookServices  = []string{"webhook-receiver"}
	TellServices  = []string{"notifier"}
)

// Bus is the program of the bus.
const Bus = "sluice-bus"

// Options say where programs and data are.
type Options struct {
	BinDir     string // holds the bus and the services
	Dir        string // data, keys and logs; must exist
	Kubeconfig string
	LogLevel   string   // of the services; default info
	Flags      []string // more flags for every service
	// ServiceFlags are more flags for one service, by name.
	ServiceFlags map[string][]string
	// Output gets the log of each service beside its file, by name; may be nil.
	Output func(service string) io.Writer
	// NATSURL is the address by which a replica reaches the bus, by its name, where something stands between; nil for none.
	NATSURL func(replica string) string
	// BusDir holds what the bus stores, MirrorsDir the folders of git-watcher's replicas; empty for folders in Dir.
	BusDir, MirrorsDir string
	// Images runs the services that follow images, too, and the cache that they share.
	Images bool
	// Notifier runs the service that tells people, too.
	Notifier bool
	// Redis is the program of a Redis or Valkey server that is that cache; empty for the one of the command line, in memory.
	Redis string
	// Hooks runs the service that hosts call, too.
	Hooks bool
	// SyncInterval of the bus, as --sync-interval; 0 syncs every write.
	SyncInterval time.Duration
}

// Installation is a running bus with any number of replicas of each service.
type Installation struct {
	options   Options
	busPort   int
	busDir    string
	cachePort int

	mu         sync.Mutex
	bus, cache *process.Process
	replicas   []*Replica
	count      map[string]int
}

// Replica is one process of a service.
type Replica struct {
	*process.Process
	Service string
	metrics string
	hooks   string // where hosts call it; empty for a service that nobody calls
}

// New prepares an installation; nothing runs yet.
func New(o Options) (*Installation, error) {
	if o.LogLevel == "" {
		o.LogLevel = "info"
	}
	if o.BusDir == "" {
		o.BusDir = filepath.Join(o.Dir, "bus")
	}
	if o.MirrorsDir == "" {
		o.MirrorsDir = o.Dir
	}
	if err := seal.EnsureKeyFile(filepath.Join(o.Dir, "seal.key")); err != nil {
		return nil, err
	}
	i := &Installation{options: o, busDir: o.BusDir, count: map[string]int{}}
	var err error
	if i.busPort, err = FreePort(); err != nil {
		return nil, err
	}
	if i.cachePort, err = FreePort(); err != nil {
		return nil, err
	}
	return i, nil
}

// Start starts the bus and one replica of each service, and returns when all are ready.
func Start(ctx context.Context, o Options) (*Installation, error) {
	i, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := i.StartBus(); err != nil {
		return nil, err
	}
	if err := i.WaitBus(ctx); err != nil {
		i.Stop()
		return nil, err
	}
	if err := i.StartCache(ctx); err != nil {
		i.Stop()
		return nil, err
	}
	if err := i.startServices(ctx); err != nil {
		i.Stop()
		return nil, err
	}
	return i, nil
}

// startServices starts one replica of each service, and returns when all take work; an error when one ended.
func (i *Installation) startServices(ctx context.Context) error {
	var started []*Replica
	for _, service := range i.Services() {
		r, err := i.StartReplica(service)
		if err != nil {
			return err
		}
		started = append(started, r)
	}
	for _, r := range started {
		if err := r.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Services are those that the installation has.
func (i *Installation) Services() []string {
	all := slices.Clone(Services)
	if i.options.Images {
		all = append(all, ImageServices...)
	}
	if i.options.Hooks {
		all = append(all, HookServices...)
	}
	if i.options.Notifier {
		all = append(all, TellServices...)
	}
	return all
}

// NATSURL is the address of the bus.
func (i *Installation) NATSURL() string { return fmt.Sprintf("nats://127.0.0.1:%d", i.busPort) }

// StartBus starts the bus on the same address and files as before.
func (i *Installation) StartBus() error {
	p, err := process.Start(process.Options{
		Name: "nats-server", Dir: i.options.Dir, Output: i.output("nats-server"),
		Command: []string{filepath.Join(i.options.BinDir, Bus), "--data-dir", i.busDir, "--addr", fmt.Sprintf("127.0.0.1:%d", i.busPort),
			"--sync-interval", i.options.SyncInterval.String()},
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.bus = p
	i.mu.Unlock()
	return nil
}

// StartCache starts the cache of images, empty, on the same address as before, and returns when it takes connections. An installation
// that follows no images has none.
func (i *Installation) StartCache(ctx context.Context) error {
	if !i.options.Images {
		return nil
	}
	command, err := i.cacheCommand()
	if err != nil {
		return err
	}
	p, err := process.Start(process.Options{Name: "cache", Dir: i.options.Dir, Output: i.output("cache"), Command: command})
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.cache = p
	i.mu.Unlock()
	return waitTCP(ctx, p, i.cacheAddr())
}

func (i *Installation) cacheCommand() ([]string, error) {
	dir := i.options.Dir
	if i.options.Redis == "" {
		return []string{filepath.Join(i.options.BinDir, "sluice"), "cache-server", "--data-dir", dir, "--addr", i.cacheAddr()}, nil
	}
	_, password, err := imagecache.EnsureFiles(dir)
	if err != nil {
		return nil, err
	}
	settings := filepath.Join(dir, "cache.conf") // the password is for no list of processes
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\nappendonly no\nrequirepass %s\n", i.cachePort, dir, password)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write settings of the cache: %w", err)
	}
	return []string{i.options.Redis, settings}, nil
}

func (i *Installation) cacheAddr() string { return fmt.Sprintf("127.0.0.1:%d", i.cachePort) }

// Cache is the process of the cache of images; nil where there is none.
func (i *Installation) Cache() *process.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cache
}

// WaitBus returns when the bus takes connections, so that services need not say that they wait for it.
func (i *Installation) WaitBus(ctx context.Context) error {
	return waitTCP(ctx, i.Bus(), fmt.Sprintf("127.0.0.1:%d", i.busPort))
}

// waitTCP returns when a process takes connections.
func waitTCP(ctx context.Context, p *process.Process, addr string) error {
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; see %s", p.Name, ctx.Err(), p.Log)
		case <-p.Done():
			return fmt.Errorf("%s ended: %w; see %s", p.Name, errors.Join(p.Err()), p.Log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Bus is the process of the bus.
func (i *Installation) Bus() *process.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.bus
}

// WipeBus removes what the bus holds; it must not be running.
func (i *Installation) WipeBus() error { return os.RemoveAll(i.busDir) }

// StartReplica starts one more replica of a service. It does not wait for it to be ready.
func (i *Installation) StartReplica(service string) (*Replica, error) {
	metrics, err := FreePort()
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.count[service]++
	name := fmt.Sprintf("%s-%d", service, i.count[service])
	i.mu.Unlock()
	r := &Replica{Service: service, metrics: fmt.Sprintf("127.0.0.1:%d", metrics)}
	if slices.Contains(HookServices, service) {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		r.hooks = fmt.Sprintf("127.0.0.1:%d", port)
	}
	r.Process, err = process.Start(process.Options{Name: name, Dir: i.options.Dir, Command: i.command(r, name), Output: i.output(name)})
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.replicas = append(i.replicas, r)
	i.mu.Unlock()
	return r, nil
}

func (i *Installation) command(r *Replica, name string) []string {
	o := i.options
	command := []string{filepath.Join(o.BinDir, r.Service), "--nats-url", i.natsURLOf(name), "--kubeconfig", o.Kubeconfig,
		"--metrics-addr", r.metrics, "--log-level", o.LogLevel}
	switch r.Service {
	case "git-watcher":
		command = append(command, "--data-dir", filepath.Join(o.MirrorsDir, name+"-mirrors"), "--artifact-addr", "127.0.0.1:0", "--artifact-url", "")
	case "image-updater":
		command = append(command, "--data-dir", filepath.Join(o.MirrorsDir, name+"-mirrors"))
		fallthrough
	case "registry-scanner":
		command = append(command, "--redis-addr", i.cacheAddr(), "--redis-password-file", filepath.Join(o.Dir, "cache.password"),
			"--cache-key-file", filepath.Join(o.Dir, "cache.key"))
	case "notifier":
		command = append(command, "--notification-local-addresses") // those who are told run on this machine, too
	case "webhook-receiver":
		command = append(command, "--webhook-addr", r.hooks)
	default:
		command = append(command, "--seal-key-file", filepath.Join(o.Dir, "seal.key"))
	}
	return append(append(command, o.Flags...), o.ServiceFlags[r.Service]...)
}

func (i *Installation) natsURLOf(replica string) string {
	if i.options.NATSURL == nil {
		return i.NATSURL()
	}
	return i.options.NATSURL(replica)
}

func (i *Installation) output(name string) io.Writer {
	if i.options.Output == nil {
		return nil
	}
	return i.options.Output(name)
}

// Replicas are the replicas of a service that run now; of all services when it is empty.
func (i *Installation) Replicas(service string) []*Replica {
	i.mu.Lock()
	defer i.mu.Unlock()
	var running []*Replica
	for _, r := range i.replicas {
		if !r.Ended() && (service == "" || r.Service == service) {
			running = append(running, r)
		}
	}
	return running
}

// WaitReady returns when every replica that runs takes work.
func (i *Installation) WaitReady(ctx context.Context) error {
	for _, r := range i.Replicas("") {
		if err := r.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// WaitReady returns when the replica takes work, or with an error when it ends before.
func (r *Replica) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		response, err := http.Get("http://" + r.metrics + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; see %s", r.Name, ctx.Err(), r.Log)
		case <-r.Done():
			return fmt.Errorf("%s ended: %w; see %s", r.Name, errors.Join(r.Err()), r.Log)
		case <-tick.C:
		}
	}
}

// HooksURL is where hosts call a replica of webhook-receiver, without a path.
func (r *Replica) HooksURL() string { return "http://" + r.hooks }

// MetricsURL is where the replica's metrics are.
func (r *Replica) MetricsURL() string { return "http://" + r.metrics + "/metrics" }

// Stop stops all services in an orderly way, then cache and bus.
func (i *Installation) Stop() {
	var all sync.WaitGroup
	for _, r := range i.Replicas("") {
		all.Go(func() { _ = r.Resume(); _ = r.Process.Stop(10 * time.Second) })
	}
	all.Wait()
	for _, p := range []*process.Process{i.Cache(), i.Bus()} {
		if p != nil && !p.Ended() {
			_ = p.Resume()
			_ = p.Stop(10 * time.Second)
		}
	}
}

// FreePort finds a port that nobody listens on. It is below those that connections are made from: one of these could take it before the
// server does that it is for.
func FreePort() (int, error) {
	const first, ports, tries = 20_000, 12_000, 100
	var err error
	for range tries {
		port := first + rand.IntN(ports)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
