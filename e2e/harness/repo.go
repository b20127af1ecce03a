package harness

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// sequenceKey is where each commit's number stands in the ConfigMap of an application.
const sequenceKey = "sequence"

// Repo is a git repository with a folder for each of its applications, its GitRepository and their Kustomizations. Every commit has
// a number, one more than the last, which is in the ConfigMap of each application that the commit changes.
type Repo struct {
	Name   string
	Object *sourcev1.GitRepository
	Apps   []*kustomizev1.Kustomization
	Files  *gittest.Repository

	env *Env

	mu   sync.Mutex
	last int
	want map[string]int // by application: number of the last commit that changed it
}

// NewRepo makes a repository with n applications named after it, at commit 1, and their objects. It does not wait for anything.
func (e *Env) NewRepo(t testing.TB, name string, n int, edit ...func(*sourcev1.GitRepositorySpec)) *Repo {
	t.Helper()
	files, err := e.Git.CreateRepository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	r := &Repo{Name: name, Files: files, env: e, want: map[string]int{}}
	r.Object = e.GitRepository(e.Namespace, name, e.Git.URL(name), edit...)
	for i := range n {
		app := fmt.Sprintf("%s-%02d", name, i)
		r.Apps = append(r.Apps, e.Kustomization(e.Namespace, app, name, "./apps/"+app))
	}
	r.Push(t)
	e.Create(t, r.Object)
	for _, app := range r.Apps {
		e.Create(t, app)
	}
	return r
}

// Push commits the next number to the named applications, to all when none is named, and returns it.
func (r *Repo) Push(t testing.TB, apps ...string) int {
	t.Helper()
	n, err := r.PushTo(t.Context(), apps...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// PushTo is Push for other goroutines than the test's.
func (r *Repo) PushTo(ctx context.Context, apps ...string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(apps) == 0 {
		for _, app := range r.Apps {
			apps = append(apps, app.Name)
		}
	}
	next := r.last + 1
	files := map[string]string{}
	for _, app := range apps {
		files["apps/"+app+"/configmap.yaml"] = ConfigMap(app, map[string]string{sequenceKey: strconv.Itoa(next)})
	}
	hash, err := r.Files.Commit(ctx, gittest.Commit{Files: files, Message: "number " + strconv.Itoa(next)})
	if err != nil {
		return 0, err
	}
	r.env.noteCommit(hash, next)
	r.last = next
	for _, app := range apps {
		r.want[app] = next
	}
	return next, nil
}

// Request asks for a run of the repository, as a webhook would.
func (r *Repo) Request(ctx context.Context) error {
	_, err := r.env.Request(ctx, r.Object.DeepCopy())
	return err
}

// PushAndRequest pushes to all applications and asks for a run.
func (r *Repo) PushAndRequest(ctx context.Context, apps ...string) (int, error) {
	n, err := r.PushTo(ctx, apps...)
	if err != nil {
		return 0, err
	}
	return n, r.Request(ctx)
}

// Want is the number that each application is to end with.
func (r *Repo) Want() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.want)
}

// Last is the number of the last commit.
func (r *Repo) Last() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// WantAll is the number that every object of some repositories is to end with: ConfigMaps, Kustomizations, GitRepositories.
func WantAll(repos []*Repo) (objects, applied, sources map[string]int) {
	objects, applied, sources = map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range repos {
		maps.Copy(objects, r.Want())
		sources[r.Name] = r.Last()
		for _, app := range r.Apps {
			applied[app.Name] = r.Last()
		}
	}
	return objects, applied, sources
}

// ConfigMap is the manifest of a ConfigMap.
func ConfigMap(name string, data map[string]string) string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n"
	for k, v := range data {
		text += "  " + k + ": " + strconv.Quote(v) + "\n"
	}
	return text
}

// noteCommit remembers which number a commit has.
func (e *Env) noteCommit(hash string, number int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.commits[hash] = number
}

// NumberOf is the number of the commit that a revision such as main@sha1:… names.
func (e *Env) NumberOf(revision string) (int, error) {
	_, hash, _ := strings.Cut(revision, "@sha1:")
	e.mu.Lock()
	defer e.mu.Unlock()
	number, ok := e.commits[hash]
	if !ok {
		return 0, fmt.Errorf("revision %q is of no commit of this test", revision)
	}
	return number, nil
}
