package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// ServicePackages are the packages of services by name.
func ServicePackages(services ...string) []string {
	packages := make([]string, len(services))
	for i, name := range services {
		packages[i] = "./services/" + name + "/cmd/" + name
	}
	return packages
}

// CommandPackages are the packages of commands by name.
func CommandPackages(commands ...string) []string {
	packages := make([]string, len(commands))
	for i, name := range commands {
		packages[i] = "./tools/cmd/" + name
	}
	return packages
}

// root is the project's folder, the one above with go.work.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the project: %w", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find the project: no go.work above this folder")
}

// Build builds programs as a release has them into a folder.
func Build(ctx context.Context, dir string, packages []string) error {
	root, err := root()
	if err != nil {
		return err
	}
	return build(ctx, root, dir+string(filepath.Separator), packages)
}

// BuildModule builds the program of a module that is not in the workspace, by its folder in the project.
func BuildModule(ctx context.Context, program, module string) error {
	root, err := root()
	if err != nil {
		return err
	}
	return build(ctx, filepath.Join(root, module), program, []string{"."}, "GOWORK=off")
}

func build(ctx context.Context, in, output string, packages []string, env ...string) error {
	args := []string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", output}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir, cmd.Env = in, slices.Concat(os.Environ(), []string{"CGO_ENABLED=0"}, env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: %w\n%s", err, out)
	}
	return nil
}
