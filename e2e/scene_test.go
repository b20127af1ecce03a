package e2e

import (
	"bytes"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/e2e/harness"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// scene is one fault's own namespace with one git repository, on each of two servers, that holds a good application at ./app.
type scene struct {
	t         *testing.T
	e         *harness.Env
	locked    *gittest.Server
	namespace string
	files     *gittest.Repository // on the open server
	repo      *sourcev1.GitRepository
	app       *kustomizev1.Kustomization
}

var goodFiles = map[string]string{"app/configmap.yaml": harness.ConfigMap("good", map[string]string{"a": "b"})}

func newScene(t *testing.T, e *harness.Env, locked *gittest.Server) *scene {
	t.Helper()
	s := &scene{t: t, e: e, locked: locked, namespace: e.NewNamespace(t)}
	for _, server := range []*gittest.Server{e.Git, locked} {
		files, err := server.CreateRepository(t.Context(), s.namespace)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := files.Commit(t.Context(), gittest.Commit{Files: goodFiles}); err != nil {
			t.Fatal(err)
		}
		if server == e.Git {
			s.files = files
		}
	}
	s.repo = e.GitRepository(s.namespace, "source", e.Git.URL(s.namespace))
	s.app = e.Kustomization(s.namespace, "app", "source", "./app")
	return s
}

// source makes the GitRepository as edit wants it.
func (s *scene) source(edit func(*sourcev1.GitRepositorySpec)) harness.Resource {
	s.t.Helper()
	edit(&s.repo.Spec)
	s.e.Create(s.t, s.repo)
	return s.repo
}

// changeSource edits the GitRepository.
func (s *scene) changeSource(edit func(*sourcev1.GitRepositorySpec)) {
	s.t.Helper()
	harness.Change(s.t, s.e, s.repo, func(r *sourcev1.GitRepository) { edit(&r.Spec) })
}

// application makes the source and the Kustomization as edit wants it, with more files in the source.
func (s *scene) application(files map[string]string, edit ...func(*kustomizev1.KustomizationSpec)) harness.Resource {
	s.t.Helper()
	if len(files) > 0 {
		s.commit(gittest.Commit{Files: files})
	}
	for _, f := range edit {
		f(&s.app.Spec)
	}
	s.e.Create(s.t, s.repo, s.app)
	return s.app
}

func (s *scene) commit(c gittest.Commit) {
	s.t.Helper()
	if _, err := s.files.Commit(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
}

// push commits and asks for a run of the source, as a webhook does.
func (s *scene) push(c gittest.Commit) {
	s.t.Helper()
	s.commit(c)
	s.e.MustRequest(s.t, s.repo)
}

// secret makes a Secret, or replaces what is in it.
func (s *scene) secret(name string, data map[string]string) *meta.LocalObjectReference {
	s.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, StringData: data}
	if err := s.e.Client.Create(s.t.Context(), secret); client.IgnoreAlreadyExists(err) != nil {
		s.t.Fatal(err)
	} else if err != nil {
		harness.Change(s.t, s.e, secret, func(c *corev1.Secret) { c.StringData = data })
	}
	return &meta.LocalObjectReference{Name: name}
}

// sshSecret is what a GitRepository over SSH needs; with another server's host key when that is asked for.
func (s *scene) sshSecret(otherHost bool) map[string]string {
	known := s.e.Git.KnownHosts()
	if otherHost {
		host, _, _ := bytes.Cut(known, []byte(" "))
		known = append(append([]byte{}, host...), " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"...)
	}
	return map[string]string{"identity": string(s.e.Git.ClientKey()), "known_hosts": string(known)}
}
