package handler

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
)

const (
	// ownEvery is how often the keys of the installation are read.
	ownEvery = 10 * time.Second
	// maxKeyFile bounds a file with a key.
	maxKeyFile = 64 << 10
)

// Own keeps the doors of the installation as a Secret or a directory of files says.
type Own struct {
	Cluster *kube.Cluster
	Doors   *door.Doors
	Log     *slog.Logger
	Secret  types.NamespacedName // the zero name for none
	Dir     string               // empty for none
}

// Run reads the keys again and again until ctx ends. When they cannot be read, those that are known stay.
func (o *Own) Run(ctx context.Context) {
	tick := time.NewTicker(ownEvery)
	defer tick.Stop()
	for {
		if err := o.Load(ctx); err != nil && ctx.Err() == nil {
			o.Log.Warn("cannot read the keys of the installation's addresses, what was known stays", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Load reads the keys once. A Secret that is not there has none.
func (o *Own) Load(ctx context.Context) error {
	data := map[string][]byte{}
	var err error
	switch {
	case o.Dir != "":
		data, err = readDir(o.Dir)
	case o.Secret.Name != "":
		data, err = o.Cluster.Secret(ctx, o.Secret)
		if kube.IsMissingOrForbidden(err) {
			data, err = nil, nil
		}
	}
	if err != nil {
		return err
	}
	o.Doors.Set(types.NamespacedName{}, door.ForInstallation(data))
	return nil
}

// readDir reads the files of a directory, as Kubernetes mounts a Secret: what begins with a dot is its own.
func readDir(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	data := map[string][]byte{}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name())) // follows the links of a mounted Secret
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxKeyFile {
			continue
		}
		if data[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
	}
	return data, nil
}
