package gittest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Fault stands between the server's HTTP clients and git: it answers itself, or
// has git answer and spoils that.
type Fault func(git http.Handler, w http.ResponseWriter, r *http.Request)

// SetFault makes the server fail from the next request on; nil mends it. A
// request that hangs goes on hanging until its client gives up.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// AnswerStatus is the fault of a server that answers everything with a status.
func AnswerStatus(status int) Fault {
	return func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, http.StatusText(status), status)
	}
}

// HangMidPack is the fault of a server that says what refs there are, begins to
// send a pack and then says nothing more.
func HangMidPack(git http.Handler, w http.ResponseWriter, r *http.Request) {
	git.ServeHTTP(&hangingWriter{ResponseWriter: w, ctx: r.Context()}, r)
}

// hangingWriter passes an answer on until a little after a pack begins.
type hangingWriter struct {
	http.ResponseWriter
	ctx context.Context // of the request
}

func (w *hangingWriter) Write(p []byte) (int, error) {
	const header = 12 // bytes of a pack before its first object
	at := bytes.Index(p, []byte("PACK"))
	if at < 0 {
		return w.ResponseWriter.Write(p)
	}
	if n, err := w.ResponseWriter.Write(p[:min(at+header, len(p))]); err != nil {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func (w *hangingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

const oldPrefix = "old-" // of folders with what OldHead keeps

// OldHead is the fault of a replica that lags: it serves all repositories as
// they are now, or with their branch main so many commits behind that, whatever
// is pushed from now on.
func (s *Server) OldHead(ctx context.Context, behind int) (Fault, error) {
	dir, err := os.MkdirTemp(s.dir, oldPrefix)
	if err != nil {
		return nil, fmt.Errorf("keep the present state: %w", err)
	}
	repositories, err := s.repositories()
	if err != nil {
		return nil, fmt.Errorf("keep the present state: %w", err)
	}
	for _, name := range repositories {
		if err := s.keepOld(ctx, filepath.Join(s.dir, name), filepath.Join(dir, name), behind); err != nil {
			return nil, err
		}
	}
	old := s.backend(dir)
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) { old.ServeHTTP(w, r) }, nil
}

// repositories are the paths of all repositories below the server's folder,
// without those that OldHead keeps.
func (s *Server) repositories() ([]string, error) {
	var found []string
	err := filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !entry.IsDir():
			return nil
		case strings.HasPrefix(entry.Name(), oldPrefix):
			return filepath.SkipDir
		case strings.HasSuffix(entry.Name(), ".git"):
			name, err := filepath.Rel(s.dir, path)
			if err != nil {
				return err
			}
			found = append(found, name)
			return filepath.SkipDir
		}
		return nil
	})
	return found, err
}

// keepOld copies a repository and sets the copy's branch back, at most to the
// first commit.
func (s *Server) keepOld(ctx context.Context, from, to string, behind int) error {
	clone := exec.CommandContext(ctx, s.git, "clone", "--quiet", "--mirror", from, to)
	clone.Env = environment()
	if out, err := clone.CombinedOutput(); err != nil {
		return fmt.Errorf("keep the present state: %w: %s", err, out)
	}
	r := &Repository{path: to, git: s.git}
	count, err := r.Git(ctx, nil, "rev-list", "--first-parent", "--count", "main")
	if err != nil {
		return fmt.Errorf("keep the present state: %w", err)
	}
	commits, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("keep the present state: %w", err)
	}
	target, err := r.Resolve(ctx, fmt.Sprintf("main~%d", min(behind, commits-1)))
	if err != nil {
		return fmt.Errorf("keep the present state: %w", err)
	}
	return r.SetRef(ctx, "refs/heads/main", target)
}

// backend serves the repositories below a folder by the git program.
func (s *Server) backend(dir string) http.Handler {
	return &cgi.Handler{
		Path:   s.git,
		Args:   []string{"http-backend"},
		Env:    append(environment(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=gittest"),
		Stderr: io.Discard, // what git says of a missing repository, the client hears too
	}
}
