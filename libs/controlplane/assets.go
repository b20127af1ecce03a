package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// EnvAssets names the environment variable with a folder of programs, as other
// projects' API server tests use it. It must hold etcd 3.5 or newer and
// kube-apiserver, and the two other programs where they are asked for.
const EnvAssets = "KUBEBUILDER_ASSETS"

// ErrNoProgram says that the folder of programs lacks one that is needed.
var ErrNoProgram = errors.New("no such program")

const (
	etcdProgram              = "etcd"
	apiServerProgram         = "kube-apiserver"
	controllerManagerProgram = "kube-controller-manager"
	schedulerProgram         = "kube-scheduler"
)

// Assets are the programs of a control plane: a folder with one file for each,
// or one file that is all of them. The zero value is neither.
type Assets struct {
	// Dir is a folder with the programs under their own names.
	Dir string

	// MultiCall is one program that takes the name of the program to be as its
	// first argument. It counts when Dir is empty.
	MultiCall string
}

// Binary finds the programs of a control plane: in the folder that EnvAssets
// names, else in the cache, else by building them into it. The build takes
// about ten minutes the first time; it tells how far it is on progress, which
// may be nil. Processes that ask at the same time build once.
func Binary(ctx context.Context, progress io.Writer) (Assets, error) {
	if dir := os.Getenv(EnvAssets); dir != "" {
		return folderAssets(dir)
	}
	file, err := cachedProgram(ctx, progress)
	if err != nil {
		return Assets{}, err
	}
	return Assets{MultiCall: file}, nil
}

func folderAssets(dir string) (Assets, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Assets{}, fmt.Errorf("find the folder of programs: %w", err)
	}
	assets := Assets{Dir: dir}
	for _, name := range []string{etcdProgram, apiServerProgram} {
		if _, err := assets.command(name); err != nil {
			return Assets{}, fmt.Errorf("use %s: %w", EnvAssets, err)
		}
	}
	return assets, nil
}

func (a Assets) empty() bool { return a.Dir == "" && a.MultiCall == "" }

// command returns the first words of a command line that runs a program.
func (a Assets) command(name string) ([]string, error) {
	if a.Dir == "" {
		return []string{a.MultiCall, name}, nil
	}
	file := filepath.Join(a.Dir, name)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", name, a.Dir, ErrNoProgram)
	}
	return []string{file}, nil
}

// String returns the folder or the file of the programs.
func (a Assets) String() string {
	if a.Dir != "" {
		return a.Dir
	}
	return a.MultiCall
}
