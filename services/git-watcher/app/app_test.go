package app

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// signer signs as one person does with an SSH key.
func signer(t *testing.T) (gittest.Sign, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return func(payload []byte) ([]byte, error) {
		s, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA512, "git")
		if err != nil {
			return nil, err
		}
		return sshsig.Armor(s), nil
	}, ssh.MarshalAuthorizedKey(key.PublicKey())
}

func (w *world) sign(r *gittest.Repository, commit string, sign gittest.Sign) string {
	w.Helper()
	signed, err := r.SignCommit(w.Context(), commit, sign)
	w.do(err)
	w.do(r.SetRef(w.Context(), "refs/heads/main", signed))
	return signed
}

func verified(mode sourcev1.GitVerificationMode) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) {
		s.Verification = &sourcev1.GitRepositoryVerification{Mode: mode, SecretRef: meta.LocalObjectReference{Name: "keys"}}
	}
}

// What does not verify is neither stored nor told, and what was good before stays.
func TestVerification(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	jane, key := signer(t)
	mallory, otherKey := signer(t)
	r := w.repository("app")
	w.create("app", verified("head"))
	if got := w.fails("app", sourcev1.SourceVerifiedCondition, "False/VerificationError"); got.Status.Artifact != nil {
		t.Fatal("an artifact without keys")
	}
	w.secret("keys", map[string][]byte{"jane.sshpub": key})
	good := w.sign(r, w.commit(r, "a", "good"), jane)
	w.poke("app")
	repo := w.ready("app", good)
	if got := is(repo, sourcev1.SourceVerifiedCondition); got != "True/Succeeded" || *repo.Status.SourceVerificationMode != sourcev1.ModeGitHEAD {
		t.Fatal(got, repo.Status.SourceVerificationMode)
	}

	for _, bad := range []string{w.sign(r, w.commit(r, "a", "by a stranger"), mallory), w.commit(r, "a", "not signed")} {
		w.do(r.SetRef(t.Context(), "refs/heads/main", bad))
		w.poke("app")
		repo = w.fails("app", sourcev1.SourceVerifiedCondition, "False/InvalidCommitSignature")
		if w.files(repo)["a"] != "good" || !strings.HasSuffix(repo.Status.Artifact.Revision, good) {
			t.Fatalf("the artifact is %v", repo.Status.Artifact)
		}
		if got := is(repo, sourcev1.FetchFailedCondition); got != "" {
			t.Errorf("FetchFailed is %s", got)
		}
	}
	// Back to the good one: nothing new, and verified again.
	w.do(r.SetRef(t.Context(), "refs/heads/main", good))
	w.poke("app")
	if repo = w.ready("app", good); is(repo, sourcev1.SourceVerifiedCondition) != "True/Succeeded" {
		t.Fatal(conditions(repo))
	}
	if told := w.told("app"); len(told) != 1 {
		t.Fatalf("told of %v", told)
	}
	// A key that is taken away vouches no more, also for what is there.
	w.secret("keys", map[string][]byte{"other.sshpub": otherKey})
	w.poke("app")
	w.fails("app", sourcev1.SourceVerifiedCondition, "False/InvalidCommitSignature")
	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.Verification = nil })
	repo = w.ready("app", good)
	if is(repo, sourcev1.SourceVerifiedCondition) != "" || repo.Status.SourceVerificationMode != nil {
		t.Fatal(conditions(repo))
	}
}

func TestVerificationOfTags(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	jane, key := signer(t)
	w.secret("keys", map[string][]byte{"jane.sshpub": key})
	r := w.repository("app", "a", "1")
	w.create("app", verified("Tag"))
	w.until("app", "stalled", func(r *sourcev1.GitRepository) bool {
		return is(r, meta.StalledCondition) == "True/InvalidVerificationMode"
	})
	signed := w.sign(r, w.commit(r, "a", "2"), jane)
	_, err := r.SignTag(t.Context(), "v1.0.0", signed, jane)
	w.do(err)
	w.change("app", func(r *sourcev1.GitRepository) {
		r.Spec.Verification.Mode, r.Spec.Reference = "TagAndHEAD", &sourcev1.GitRepositoryRef{SemVer: "1.x"}
	})
	repo := w.ready("app", signed)
	if *repo.Status.SourceVerificationMode != "TagAndHEAD" || repo.Status.Artifact.Revision != "v1.0.0@sha1:"+signed {
		t.Fatal(repo.Status)
	}
	w.do(r.AnnotatedTag(t.Context(), "v1.1.0", signed, "not signed"))
	w.poke("app")
	if repo = w.fails("app", sourcev1.SourceVerifiedCondition, "False/InvalidGitObject"); repo.Status.Artifact.Revision != "v1.0.0@sha1:"+signed {
		t.Fatal(repo.Status)
	}
}

// What is included follows its source by facts, not by the clock.
func TestIncludes(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	w.repository("app", "app.yaml", "app")
	w.create("app", func(s *sourcev1.GitRepositorySpec) {
		s.Include = []sourcev1.GitRepositoryInclude{
			{GitRepositoryRef: meta.LocalObjectReference{Name: "lib"}, FromPath: "./deploy", ToPath: "../vendor/lib/"},
			{GitRepositoryRef: meta.LocalObjectReference{Name: "other"}},
		}
	})
	w.fails("app", sourcev1.IncludeUnavailableCondition, "True/NotFound")
	lib := w.repository("lib", "else.yaml", "no")
	_, err := lib.Commit(t.Context(), gittest.Commit{Files: map[string]string{"deploy/x/lib.yaml": "1"}, Executable: []string{"deploy/x/lib.yaml"}})
	w.do(err)
	w.create("lib", nil)
	w.create("other", nil)
	w.until("app", "waiting for an artifact", func(r *sourcev1.GitRepository) bool {
		return is(r, sourcev1.IncludeUnavailableCondition) == "True/NoArtifact"
	})
	w.repository("other", "other.yaml", "o")
	w.poke("other")
	repo := w.ready("app", "")
	want := map[string]string{"app.yaml": "app", "vendor/lib/x/lib.yaml": "1", "other/other.yaml": "o"}
	if diff := cmp.Diff(want, w.files(repo)); diff != "" {
		t.Fatal(diff)
	}
	if n := len(repo.Status.IncludedArtifacts); n != 2 || len(repo.Status.ObservedInclude) != 2 || repo.Status.IncludedArtifacts[0].Digest != w.get("lib").Status.Artifact.Digest {
		t.Fatalf("%+v", repo.Status)
	}
	data, err := w.bus.Artifacts().Get(t.Context(), repo.Status.Artifact.Digest)
	w.do(err)
	unpacked, err := archive.UnpackFiles(t.Context(), bytes.NewReader(data), archive.Limits{})
	w.do(err)
	for _, f := range unpacked {
		if f.Executable != (f.Path == "vendor/lib/x/lib.yaml") {
			t.Errorf("%s is executable: %v", f.Path, f.Executable)
		}
	}
	before := repo.Status.Artifact.Digest
	w.commit(lib, "deploy/x/lib.yaml", "2")
	w.poke("lib") // and nobody asks for app
	repo = w.until("app", "another", func(r *sourcev1.GitRepository) bool { return r.Status.Artifact.Digest != before })
	if got := w.files(repo)["vendor/lib/x/lib.yaml"]; got != "2" {
		t.Fatalf("included %q", got)
	}

	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.Include[0].FromPath = "nowhere" })
	w.fails("app", sourcev1.StorageOperationFailedCondition, "True/CopyFailure")
	w.change("app", func(r *sourcev1.GitRepository) {
		r.Spec.Include[0].FromPath, r.Spec.Include[0].ToPath = "deploy", "app.yaml"
	})
	w.fails("app", sourcev1.StorageOperationFailedCondition, "True/CopyFailure")
	w.change("lib", func(r *sourcev1.GitRepository) {
		r.Spec.Include = []sourcev1.GitRepositoryInclude{{GitRepositoryRef: meta.LocalObjectReference{Name: "app"}}}
	})
	w.fails("lib", sourcev1.IncludeUnavailableCondition, "True/IncludeCycle")
	w.change("app", func(r *sourcev1.GitRepository) { r.Spec.Include = nil })
	if repo = w.ready("app", ""); len(repo.Status.IncludedArtifacts)+len(repo.Status.ObservedInclude) != 0 || len(w.files(repo)) != 1 {
		t.Fatalf("%+v", repo.Status)
	}
}

func TestRecurseSubmodules(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "x"}, nil)
	w.secret("auth", map[string][]byte{"username": []byte("jane"), "password": []byte("x")})
	lib := w.repository("lib")
	hash := w.commit(lib, "lib.yaml", "lib")
	app := w.repository("app")
	_, err := app.Commit(t.Context(), gittest.Commit{
		Files: map[string]string{".gitmodules": "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n", "a": "1"}, Submodules: map[string]string{"lib": hash},
	})
	w.do(err)
	w.create("app", func(s *sourcev1.GitRepositorySpec) {
		s.SecretRef, s.RecurseSubmodules = &meta.LocalObjectReference{Name: "auth"}, true
	})
	repo := w.ready("app", "")
	if diff := cmp.Diff(map[string]string{"a": "1", "lib/lib.yaml": "lib"}, w.files(repo)); diff != "" || !repo.Status.ObservedRecurseSubmodules {
		t.Fatal(diff)
	}
	_, err = app.Commit(t.Context(), gittest.Commit{Files: map[string]string{".gitmodules": "[submodule \"lib\"]\n\tpath = lib\n\turl = http://169.254.169.254/x\n"}})
	w.do(err)
	w.poke("app")
	if repo = w.fails("app", sourcev1.FetchFailedCondition, "True/GitOperationFailed"); is(repo, meta.StalledCondition) != "" {
		t.Fatal(conditions(repo))
	}
}

func TestProxySecret(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	w.repository("app", "a", "1")
	w.create("app", func(s *sourcev1.GitRepositorySpec) { s.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"} })
	w.fails("app", sourcev1.FetchFailedCondition, "True/AuthenticationFailed")
	for _, address := range []string{"", "proxy.example.com", "file:///proxy"} {
		w.secret("proxy", map[string][]byte{"address": []byte(address), "password": []byte("topsecret")})
		repo := w.poke("app")
		if got := conditions(repo); !strings.Contains(got, "'address'") || strings.Contains(got, "topsecret") {
			t.Fatal(got)
		}
	}
	w.secret("proxy", map[string][]byte{"address": []byte("http://127.0.0.1:1"), "username": []byte("u"), "password": []byte("topsecret")})
	repo := w.poke("app")
	if got := conditions(repo); is(repo, sourcev1.FetchFailedCondition) != "True/GitOperationFailed" || strings.Contains(got, "topsecret") {
		t.Fatal(got)
	}
	w.secret("proxy", map[string][]byte{"address": []byte("socks5://" + w.socks())})
	w.poke("app")
	w.ready("app", "")
}

// A force-push is followed, and the artifact before it can be had until nobody names it any more.
func TestForcePush(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	r := w.repository("app")
	first := w.commit(r, "a", "1")
	w.create("app", nil)
	old := w.ready("app", first)
	w.commit(r, "a", "2")
	w.poke("app")
	head, err := r.Commit(t.Context(), gittest.Commit{Parent: first, Files: map[string]string{"b": "3"}})
	w.do(err)
	w.poke("app")
	repo := w.ready("app", head)
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "3"}, w.files(repo)); diff != "" {
		t.Fatal(diff)
	}
	if got := w.files(old)["a"]; got != "1" {
		t.Fatalf("the artifact before is %q", got)
	}
	w.do(r.SetRef(t.Context(), "refs/heads/main", first)) // a rollback is a push like any other
	w.poke("app")
	if w.ready("app", first); len(w.told("app")) != 4 {
		t.Fatalf("told of %v", w.told("app"))
	}
	response, err := http.Get(strings.Replace(old.Status.Artifact.URL, strings.TrimPrefix(old.Status.Artifact.Digest, "sha256:"), strings.Repeat("0", 64), 1))
	w.do(err)
	if response.Body.Close(); response.StatusCode != http.StatusNotFound {
		t.Errorf("an artifact that is not there answers %d", response.StatusCode)
	}
}

// Objects that follow the same repository ask its server together, the more so the slower it is.
func TestFollowersShareRequests(t *testing.T) {
	w := newWorld(t, gittest.Options{}, func(c *Config) { c.Concurrency = 16 })
	r := w.repository("app", "a", "1")
	names := []string{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "aa", "ab"}
	for _, name := range names {
		w.create(name, func(s *sourcev1.GitRepositorySpec) { s.URL = w.server.URL("app") })
	}
	for _, name := range names {
		w.ready(name, "")
	}
	head := w.commit(r, "a", "2")
	w.server.SetHook(func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(500 * time.Millisecond) // a slow server
		return false
	})
	w.server.ResetRequests()
	now := time.Now().Format(time.RFC3339Nano)
	for _, name := range names {
		w.change(name, func(r *sourcev1.GitRepository) {
			r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: now}
		})
	}
	for _, name := range names {
		w.ready(name, head)
	}
	// Alone, each would list the refs, and one of them fetch.
	if n := len(w.server.Requests()); n > len(names)/2 {
		t.Errorf("%d requests for %d objects", n, len(names))
	} else {
		t.Logf("%d requests for %d objects", n, len(names))
	}
}
