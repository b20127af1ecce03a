package gauge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Profile has each service profile its use of the processor until stop is called, and keeps the profiles in folder/name, with one of
// what is on the heap then. Those of the processor are pieces of a second each, which go tool pprof takes together: a row may be short.
func Profile(ctx context.Context, metrics map[string]string, folder, name string) (stop func() error) {
	dir := filepath.Join(folder, name)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	errs := make(chan error, len(metrics))
	var all sync.WaitGroup
	for service, url := range metrics {
		base := strings.TrimSuffix(url, "/metrics") + "/debug/pprof/"
		all.Go(func() { errs <- profileService(ctx, ended, base, dir, service) })
	}
	return func() error {
		close(ended)
		all.Wait()
		cancel()
		close(errs)
		var failures []error
		for err := range errs {
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	}
}

func profileService(ctx context.Context, ended <-chan struct{}, base, dir, service string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for profiles: %w", err)
	}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return keepProfile(ctx, base+"heap", filepath.Join(dir, "heap-"+service+".pb.gz"))
		default:
		}
		if err := keepProfile(ctx, base+"profile?seconds=1", filepath.Join(dir, fmt.Sprintf("cpu-%s-%03d.pb.gz", service, n))); err != nil {
			return err
		}
	}
}

func keepProfile(ctx context.Context, url, file string) error {
	content, err := fetchProfile(ctx, url)
	if err != nil {
		return fmt.Errorf("fetch profile: %w", err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return fmt.Errorf("keep profile: %w", err)
	}
	return nil
}

func fetchProfile(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}
