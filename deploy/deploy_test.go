package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"sigs.k8s.io/yaml"
)

// TestNATSSettings guards those that a lost power supply and a full disk would
// otherwise test.
func TestNATSSettings(t *testing.T) {
	options, err := server.ProcessConfigFile(filepath.Join("nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !options.JetStream || !options.SyncAlways {
		t.Errorf("JetStream is %t and sync_interval always is %t, want both", options.JetStream, options.SyncAlways)
	}
	if options.JetStreamMaxStore <= 0 {
		t.Error("max_file_store is missing: a server that starts on a full disk would refuse every write for ever")
	}
}

// build is how a file says which image to build, with the names that
// docker-compose.yaml and skaffold.yaml have for it.
type build struct {
	Dockerfile string
	Args       map[string]string
	BuildArgs  map[string]string
}

func TestComposeBuildsEveryService(t *testing.T) {
	var file struct {
		Services map[string]struct{ Build *build }
	}
	read(t, "docker-compose.yaml", &file)
	got := map[string]bool{}
	for name, s := range file.Services {
		if s.Build != nil && s.Build.Dockerfile == "deploy/Dockerfile" && s.Build.Args["SERVICE"] == name {
			got[name] = true
		}
	}
	if diff := cmp.Diff(services(t), got); diff != "" {
		t.Errorf("services that are built (-want +got):\n%s", diff)
	}
}

func TestSkaffoldBuildsEveryService(t *testing.T) {
	var file struct {
		Build struct {
			Artifacts []struct {
				Image  string
				Docker build
			}
		}
	}
	read(t, "skaffold.yaml", &file)
	got := map[string]bool{}
	for _, a := range file.Build.Artifacts {
		if name := a.Docker.BuildArgs["SERVICE"]; a.Docker.Dockerfile == "deploy/Dockerfile" && a.Image == "sluice/"+name {
			got[name] = true
		}
	}
	if diff := cmp.Diff(services(t), got); diff != "" {
		t.Errorf("services that are built (-want +got):\n%s", diff)
	}
}

// read decodes a YAML file at the root of the repository.
func read(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// services are the names of all services.
func services(t *testing.T) map[string]bool {
	t.Helper()
	mods, err := filepath.Glob(filepath.Join("..", "services", "*", "go.mod"))
	if err != nil || len(mods) == 0 {
		t.Fatalf("no services found: %v", err)
	}
	names := map[string]bool{}
	for _, mod := range mods {
		names[filepath.Base(filepath.Dir(mod))] = true
	}
	return names
}
