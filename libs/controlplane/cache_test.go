package controlplane

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// smallModule stands for tools/controlplane: a program that builds in a second.
var smallModule = map[string]string{
	"go.mod":  "module example.test/small\n\ngo 1.26.0\n\n// The version of the programs:\n// k8s.io/kubernetes\n",
	"go.sum":  "",
	"main.go": "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(os.Args[1]) }\n",
}

const versionRequirement = "\nrequire k8s.io/kubernetes v1.2.3\n"

// useSource makes a folder with the small module, with some files changed, the
// one that is built, into an empty cache.
func useSource(t *testing.T, changed map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range smallModule {
		if other, ok := changed[name]; ok {
			content = other
		}
		write(t, filepath.Join(dir, name), content)
	}
	t.Setenv(EnvSource, dir)
	t.Setenv(EnvCache, t.TempDir())
	t.Setenv(EnvAssets, "")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func moduleWithVersion() map[string]string {
	return map[string]string{"go.mod": smallModule["go.mod"] + versionRequirement}
}

func TestBinaryBuildsOnce(t *testing.T) {
	useSource(t, moduleWithVersion())
	var progress syncBuffer
	var all sync.WaitGroup
	found := make([]Assets, 4)
	for i := range found {
		all.Go(func() {
			var err error
			if found[i], err = Binary(t.Context(), &progress); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if builds := strings.Count(progress.String(), "built the control plane"); builds != 1 {
		t.Errorf("built %d times:\n%s", builds, progress.String())
	}
	for _, assets := range found {
		if assets != found[0] {
			t.Errorf("programs in %v and %v", found[0], assets)
		}
	}
	command, err := found[0].command(etcdProgram)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(command[0], command[1:]...).Output(); string(out) != "etcd" {
		t.Errorf("the built program says %q, %v", out, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(found[0].MultiCall), "build-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBinaryTellsWhatTheCompilerSays(t *testing.T) {
	changed := moduleWithVersion()
	changed["main.go"] = "package main\n\nfunc main() { missing() }\n"
	useSource(t, changed)
	_, err := Binary(t.Context(), nil)
	if !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("error = %v, want ErrBuild with the compiler's message", err)
	}
}

func TestBinaryWithoutVersion(t *testing.T) {
	useSource(t, nil)
	if _, err := Binary(t.Context(), nil); !errors.Is(err, ErrNoSource) {
		t.Errorf("error = %v, want ErrNoSource", err)
	}
}

func TestSourceKeyFollowsEachFile(t *testing.T) {
	useSource(t, moduleWithVersion())
	first, err := findSource()
	if err != nil {
		t.Fatal(err)
	}
	if first.version != "v1.2.3" || !strings.HasPrefix(first.key, "v1.2.3-") {
		t.Errorf("version %q, key %q, want v1.2.3 in both", first.version, first.key)
	}
	for _, name := range []string{"go.sum", "main.go", "other.go"} {
		write(t, filepath.Join(first.dir, name), "changed "+name)
		next, err := findSource()
		if err != nil {
			t.Fatal(err)
		}
		if next.key == first.key {
			t.Errorf("key stays %q though %s changed", first.key, name)
		}
		first = next
	}
}

func TestSourceIsAtTheRootOfTheProject(t *testing.T) {
	t.Setenv(EnvSource, "")
	root := t.TempDir()
	below := filepath.Join(root, "services", "applier")
	write(t, filepath.Join(below, "go.mod"), "module example.test/applier\n")
	t.Chdir(below)
	if dir, err := sourceDir(); !errors.Is(err, ErrNoSource) {
		t.Errorf("outside the project: %q, %v, want ErrNoSource", dir, err)
	}
	write(t, filepath.Join(root, "go.work"), "go 1.26.0\n")
	write(t, filepath.Join(root, "tools", "controlplane", "go.mod"), "module example.test/controlplane\n")
	dir, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join("tools", "controlplane"); !strings.HasSuffix(dir, want) {
		t.Errorf("found %q, want a path that ends in %q", dir, want)
	}
}

// syncBuffer is a buffer that many goroutines may write to.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// A canceled build ends soon, though a compiler may run on, and builds nothing.
func TestBinaryStopsWithItsContext(t *testing.T) {
	useSource(t, moduleWithVersion())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Binary(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want one that says it was canceled", err)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv(EnvCache), "controlplane", "*", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "lock" {
		t.Errorf("in the cache: %v, %v, want the lock alone", left, err)
	}
}

func TestBuildOutput(t *testing.T) {
	report := newReport(nil)
	output := &buildOutput{report: report}
	for _, part := range []string{"k8s.io/a", "pi/core/v1\nfmt\n# example.test/small\nmain.go:3:15: undef", "ined: missing\n"} {
		if _, err := output.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "# example.test/small\nmain.go:3:15: undefined: missing"; output.String() != want {
		t.Errorf("messages = %q, want %q", output.String(), want)
	}
	if report.packages != 2 {
		t.Errorf("packages = %d, want 2", report.packages)
	}
}
