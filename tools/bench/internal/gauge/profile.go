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

// Profile has each service profile its use of the processor until stop is called, and keeps the profiles in folder/name. They are pieces
// of a second each, which go tool pprof takes together: a row may be short.
func Profile(ctx context.Context, metrics map[string]string, folder, name string) (stop func() error) {
	dir := filepath.Join(folder, name)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	errs := make(chan error, len(metrics))
	var all sync.WaitGroup
	for service, url := range metrics {
		all.Go(func() {
			errs <- profilePieces(ctx, ended, strings.TrimSuffix(url, "/metrics"), filepath.Join(dir, service))
		})
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

func profilePieces(ctx context.Context, ended <-chan struct{}, base, prefix string) error {
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return fmt.Errorf("make a folder for profiles: %w", err)
	}
	for n := 0; ; n++ {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		piece, err := fetchProfile(ctx, base+"/debug/pprof/profile?seconds=1")
		if err != nil {
			return fmt.Errorf("fetch profile: %w", err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s-%03d.pb.gz", prefix, n), piece, 0o644); err != nil {
			return fmt.Errorf("keep profile: %w", err)
		}
	}
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
