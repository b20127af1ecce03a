package controlplane

import (
	"errors"
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
