package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestBinaryPrefersAGivenFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvAssets, dir)
	write(t, filepath.Join(dir, etcdProgram), "")
	if _, err := Binary(t.Context(), nil); !errors.Is(err, ErrNoProgram) {
		t.Errorf("without kube-apiserver: %v, want ErrNoProgram", err)
	}
	write(t, filepath.Join(dir, apiServerProgram), "")
	assets, err := Binary(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if assets != (Assets{Dir: dir}) {
		t.Errorf("programs = %+v, want those in %s", assets, dir)
	}
	if _, err := assets.command(schedulerProgram); !errors.Is(err, ErrNoProgram) {
		t.Errorf("kube-scheduler: %v, want ErrNoProgram", err)
	}
}

func TestStartFromAFolderOfPrograms(t *testing.T) {
	built, err := Binary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if built.MultiCall == "" {
		t.Skip("the programs come from a folder already")
	}
	dir := t.TempDir()
	for _, name := range []string{etcdProgram, apiServerProgram} {
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$@\"\n", built.MultiCall, name)
		write(t, filepath.Join(dir, name), script)
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Start(t.Context(), Options{Assets: Assets{Dir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}
