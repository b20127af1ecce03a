package harness

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/sluice-cd/sluice/libs/localrun"
)

var programs = flag.String("programs", "", "folder with sluice and the services, used as they are; empty builds them")

var raceServices = flag.Bool("services-race", false, "build the services with the race detector; what it finds fails the test")

// repositoryRoot is the folder above with go.work.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find the repository: no go.work above this folder")
}

// build builds the command line and all services; that is fast when nothing changed.
func build(root, dir string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if *raceServices {
		args = append(args, "-race")
	}
	args = append(args, "./tools/cmd/sluice", "./tools/cmd/"+localrun.Bus)
	for _, service := range slices.Concat(localrun.Services, localrun.ImageServices, localrun.HookServices, localrun.TellServices) {
		args = append(args, "./services/"+service+"/cmd/"+service)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: %w\n%s", err, out)
	}
	return nil
}
