package controlplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// EnvSource names the environment variable with the folder of the module
// tools/controlplane, for programs that run outside the project's folder.
const EnvSource = "SLUICE_CONTROLPLANE_SOURCE"

// ErrNoSource says that the module tools/controlplane was not found.
var ErrNoSource = errors.New("source of the control plane not found")

var versionLine = regexp.MustCompile(`(?m)^(?:require )?\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)`)

// source is the module that the programs are built from.
type source struct {
	dir     string
	version string // of Kubernetes, as v1.2.3
	key     string // names the result in the cache
}

func findSource() (source, error) {
	dir, err := sourceDir()
	if err != nil {
		return source{}, err
	}
	module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return source{}, fmt.Errorf("read the module of the control plane: %w", err)
	}
	match := versionLine.FindSubmatch(module)
	if match == nil {
		return source{}, fmt.Errorf("%s names no version of k8s.io/kubernetes: %w", filepath.Join(dir, "go.mod"), ErrNoSource)
	}
	sum, err := hashModule(dir)
	if err != nil {
		return source{}, err
	}
	version := string(match[1])
	key := strings.Join([]string{version, runtime.GOOS, runtime.GOARCH, sum[:16]}, "-")
	return source{dir: dir, version: version, key: key}, nil
}

// sourceDir looks for the module upwards from the working folder, at the
// project's root, which is where go.work is.
func sourceDir() (string, error) {
	if dir := os.Getenv(EnvSource); dir != "" {
		return filepath.Abs(dir)
	}
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working folder: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		candidate := filepath.Join(dir, "tools", "controlplane")
		if isFile(filepath.Join(dir, "go.work")) && isFile(filepath.Join(candidate, "go.mod")) {
			return candidate, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("look upwards from %s for go.work and tools/controlplane (or set %s): %w", start, EnvSource, ErrNoSource)
		}
	}
}

// hashModule covers each file that decides what the build gives, except the
// Go toolchain: a new patch of it is no reason to wait ten minutes.
func hashModule(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", fmt.Errorf("list the source of the control plane: %w", err)
	}
	files = append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	hash := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the source of the control plane: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n", filepath.Base(file), len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.FileMode(0)
}
