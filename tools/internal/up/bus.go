package up

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/embedded"
)

// busUser is who may connect to the embedded bus.
const busUser = "sluice"

// startBus starts the bus in the data directory. Other commands on this machine reach it by BusOf, whoever else connects is refused.
func startBus(o *Options, log *slog.Logger) (*embedded.Server, error) {
	password := rand.Text()
	server, err := embedded.Start(embedded.Options{
		Dir: filepath.Join(o.DataDir, "bus"), SyncInterval: o.SyncInterval, Log: log, Hangs: embedded.StartAnew(log), Listen: true, User: busUser, Password: password,
	})
	if err != nil {
		return nil, err
	}
	for file, text := range map[string]string{passwordFile(o.DataDir): password, addressFile(o.DataDir): "nats://" + server.Addr().String()} {
		if err := writeOwn(file, text); err != nil {
			server.Stop()
			return nil, err
		}
	}
	return server, nil
}

func passwordFile(dataDir string) string { return filepath.Join(dataDir, "keys", "bus.password") }
func addressFile(dataDir string) string  { return filepath.Join(dataDir, "keys", "bus.address") }

// writeOwn writes a file that nobody else can read.
func writeOwn(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) { // with whatever rights it had
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// BusOf says how to connect to the bus of the `sluice up` that runs with a data directory.
func BusOf(dataDir string) (bus.Options, error) {
	address, err := os.ReadFile(addressFile(dataDir))
	if err != nil {
		return bus.Options{}, fmt.Errorf("look for the bus of `sluice up`: %w", err)
	}
	return bus.Options{URL: string(address[:max(0, len(address)-1)]), User: busUser, PasswordFile: passwordFile(dataDir)}, nil
}
