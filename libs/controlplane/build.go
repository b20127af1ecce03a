package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrBuild says that the programs of the control plane could not be built.
var ErrBuild = errors.New("build the Kubernetes control plane")

// build compiles the source into file. The file appears whole or not at all.
func build(ctx context.Context, src source, file string, report *report) error {
	temporary, err := os.MkdirTemp(filepath.Dir(file), "build-")
	if err != nil {
		return fmt.Errorf("make a folder to build in: %w", err)
	}
	defer os.RemoveAll(temporary)
	result := filepath.Join(temporary, programName)
	report.start("building the Kubernetes " + src.version + " control plane; the first time this takes about ten minutes on two cores")
	messages, err := runBuild(ctx, src, result, report)
	report.stop(err)
	if err != nil {
		return fmt.Errorf("%w: go build in %s: %w\n%s", ErrBuild, src.dir, err, messages)
	}
	if err := os.Rename(result, file); err != nil {
		return fmt.Errorf("keep the built control plane: %w", err)
	}
	return nil
}

// runBuild runs the Go toolchain and returns what it said, apart from the
// names of packages, which it counts on the report.
func runBuild(ctx context.Context, src source, result string, report *report) (messages string, err error) {
	output := &buildOutput{report: report}
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-ldflags", linkFlags(src.version), "-o", result, ".")
	cmd.Dir = src.dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH=")
	cmd.Stderr = output
	// Compilers that run on after the end of their parent hold its output open.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return output.String(), errors.Join(ctx.Err(), err)
	}
	return output.String(), nil
}

// buildOutput takes what the Go toolchain says line by line.
type buildOutput struct {
	report   *report
	partial  []byte // the line that has not ended yet
	messages []string
}

func (o *buildOutput) Write(p []byte) (int, error) {
	o.partial = append(o.partial, p...)
	for {
		line, rest, ended := bytes.Cut(o.partial, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		o.take(string(line))
		o.partial = rest
	}
}

// take counts a line that is the name of a package and keeps any other.
func (o *buildOutput) take(line string) {
	if strings.ContainsAny(line, " :\t#") {
		o.messages = append(o.messages, line)
		return
	}
	o.report.count()
}

func (o *buildOutput) String() string { return strings.Join(o.messages, "\n") }

// linkFlags sets the version that the API server tells; clients cannot parse
// the default one.
func linkFlags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	flags := []string{"-s", "-w"}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X", pkg+".gitVersion="+version,
			"-X", pkg+".gitMajor="+parts[0],
			"-X", pkg+".gitMinor="+parts[1],
			"-X", pkg+".gitTreeState=clean")
	}
	return strings.Join(flags, " ")
}
