package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sluice-cd/sluice/libs/localrun"
	"github.com/sluice-cd/sluice/libs/process"
	"github.com/sluice-cd/sluice/tools/bench/internal/lab"
)

// distribution is CNCF Distribution in a process of its own, with its files on disk.
type distribution struct {
	*process.Process
	address, metrics string
	lists, others    float64 // asked for before reset

	mu    sync.Mutex
	first time.Time
	watch context.CancelFunc // ends what looks for the first request
}

// startDistribution builds the registry unless its program is there, fills its folder with repositories and starts it.
func (b *bench) startDistribution(ctx context.Context, names []string) (*distribution, error) {
	dir, err := b.Folder("distribution")
	if err != nil {
		return nil, err
	}
	program, err := b.buildDistribution(ctx)
	if err != nil {
		return nil, err
	}
	d := &distribution{watch: func() {}}
	for _, address := range []*string{&d.address, &d.metrics} {
		port, err := localrun.FreePort()
		if err != nil {
			return nil, err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, d.config(dir), 0o600); err != nil {
		return nil, fmt.Errorf("configure the registry: %w", err)
	}
	if d.Process, err = process.Start(process.Options{Name: "distribution", Dir: dir, Command: []string{program, "serve", config}}); err != nil {
		return nil, err
	}
	if err := d.fill(ctx, dir, names, b.options.tags); err != nil {
		_ = d.Stop(time.Second)
		return nil, err
	}
	b.Meter.Beside["distribution"] = d.PID()
	return d, nil
}

// end stops the registry, which is measured no more.
func (d *distribution) end(b *bench) {
	d.watch()
	delete(b.Meter.Beside, "distribution")
	if err := d.Stop(5 * time.Second); err != nil {
		b.Say("the registry did not stop: %v", err)
	}
}

func (b *bench) buildDistribution(ctx context.Context) (string, error) {
	program := filepath.Join(b.BinDir(), "registry")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	b.Say("building CNCF Distribution")
	return program, lab.BuildModule(ctx, program, "tools/registry")
}

// config has it serve files and count requests, and log neither.
func (d *distribution) config(dir string) []byte {
	return fmt.Appendf(nil, `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, cache: {blobdescriptor: inmemory}}
http: {addr: %q, debug: {addr: %q, prometheus: {enabled: true, path: /metrics}}}
`, dir, d.address, d.metrics)
}

// fill pushes one image by all its tags, and then makes the other repositories as its files say one is made: each has a folder of tags of its
// own, whose entries lead to the files of the first. A million pushes would take hours.
func (d *distribution) fill(ctx context.Context, dir string, names []string, tags int) error {
	if err := d.await(ctx); err != nil {
		return err
	}
	repository, err := name.NewRepository(d.address + "/" + names[0])
	if err != nil {
		return fmt.Errorf("push image: %w", err)
	}
	for i := range tags {
		if err := remote.Write(repository.Tag(tag(i)), empty.Image, remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("push image: %w", err)
		}
	}
	repositories := filepath.Join(dir, "docker", "registry", "v2", "repositories")
	return lab.Each(8, names[1:], func(other string) error { return likeFirst(repositories, names[0], other, tags) })
}

// likeFirst makes a repository that has what the first has.
func likeFirst(repositories, first, other string, tags int) error {
	to := filepath.Join(repositories, other, "_manifests", "tags")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("make repository: %w", err)
	}
	up := filepath.Join("..", "..", first)
	links := map[string]string{
		filepath.Join(repositories, other, "_layers"):                 filepath.Join("..", first, "_layers"),
		filepath.Join(repositories, other, "_manifests", "revisions"): filepath.Join(up, "_manifests", "revisions"),
	}
	for i := range tags {
		links[filepath.Join(to, tag(i))] = filepath.Join("..", up, "_manifests", "tags", tag(i))
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("make repository: %w", err)
		}
	}
	return nil
}

func (d *distribution) await(ctx context.Context) error {
	for {
		_, _, err := d.counters(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the registry: %w", ctx.Err())
		case <-d.Done():
			return fmt.Errorf("the registry ended: %w; see %s", errors.Join(d.Err()), d.Log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *distribution) title() string { return "CNCF Distribution on this machine" }

func (d *distribution) host() string { return d.address }

// reset looks from now on for the first request, every 10 ms until it is there.
func (d *distribution) reset(ctx context.Context) error {
	d.watch()
	var err error
	if d.lists, d.others, err = d.counters(ctx); err != nil {
		return err
	}
	ctx, d.watch = context.WithCancel(ctx)
	d.mu.Lock()
	d.first = time.Time{}
	d.mu.Unlock()
	go d.awaitFirst(ctx, d.lists)
	return nil
}

func (d *distribution) awaitFirst(ctx context.Context, before float64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if lists, _, err := d.counters(ctx); err == nil && lists > before {
			d.mu.Lock()
			d.first = last
			d.mu.Unlock()
			return
		}
		last = now
	}
}

func (d *distribution) firstAsked() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first
}

func (d *distribution) asked(ctx context.Context) (lists, others int64, err error) {
	l, o, err := d.counters(ctx)
	return int64(l - d.lists), int64(o - d.others), err
}

// counters reads how many requests the registry has answered since its start.
func (d *distribution) counters(ctx context.Context) (lists, others float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.metrics+"/metrics", nil)
	if err != nil {
		return 0, 0, fmt.Errorf("read metrics of the registry: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, fmt.Errorf("read metrics of the registry: %w", err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		labels, text, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(labels, "registry_http_requests_total{") {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read metrics of the registry: %w", err)
		}
		if strings.Contains(labels, `handler="tags"`) {
			lists += n
		} else {
			others += n
		}
	}
	return lists, others, nil
}
