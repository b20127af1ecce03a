package branch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// The child of a test is this program again, told by its environment to push.
const childURL, childDir = "BRANCH_TEST_CHILD_URL", "BRANCH_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := pushAsChild(url, os.Getenv(childDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func pushAsChild(url, dir string) error {
	m, err := git.NewMirrors(git.Options{Dir: dir})
	if err != nil {
		return err
	}
	o := Options{Mirrors: m, Source: git.Source{URL: url, Ref: git.Ref{Branch: "main"}}}
	_, err = Update(context.Background(), Job{Options: o, Make: appendTo("log", "child\n")})
	return err
}

// A writer that is killed while it pushes, or before it hears that it has pushed,
// leaves the branch as it was or as it should be, and no second commit follows.
func TestKilled(t *testing.T) {
	for name, reaches := range map[string]bool{"before the server has it all": false, "before the answer": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			first := w.seed(gittest.Commit{Files: map[string]string{"log": "start\n"}})
			kill, killed := make(chan struct{}), make(chan struct{})
			w.server.SetFault(func(git http.Handler, rw http.ResponseWriter, r *http.Request) {
				if !isPush(r) {
					git.ServeHTTP(rw, r)
					return
				}
				if !reaches {
					halve(r)
				}
				git.ServeHTTP(httptest.NewRecorder(), r)
				close(kill)
				<-killed
				panic(http.ErrAbortHandler)
			})
			self, err := os.Executable()
			w.do(err)
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), childURL+"="+w.server.URL("app"), childDir+"="+dir)
			w.do(cmd.Start())
			<-kill
			w.do(cmd.Process.Kill())
			_ = cmd.Wait()
			close(killed)
			w.server.SetFault(nil)
			if moved := w.git("rev-parse", "main") != first; moved != reaches {
				t.Fatalf("the branch has moved: %v", moved)
			}
			w.sound()
			// The next one finds the directory of the dead, looks at what is there, and does what is left.
			mirrors, err := git.NewMirrors(git.Options{Dir: dir})
			w.do(err)
			o := w.options("")
			o.Mirrors = mirrors
			_, err = Update(t.Context(), Job{Options: o, Make: func(ctx context.Context, b *Branch) (*Draft, error) {
				d := draft("log", "start\nchild\n")
				return &d, nil
			}})
			w.do(err)
			if got := w.git("rev-list", "--count", "main") + w.git("show", "main:log"); got != "2start\nchild" {
				t.Errorf("%q", got)
			}
		})
	}
}
