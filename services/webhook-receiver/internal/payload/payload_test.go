package payload

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a call as its host makes it.
type sample struct {
	kind   string
	header map[string]string
	want   Event
}

// samples are by file in testdata.
var samples = map[string]sample{
	"github.json": {"github", map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": "72d3162e"}, Event{
		Name: "push", Delivery: "72d3162e", Timed: true, Moves: true, Repositories: []string{"github.com/codertocat/hello-world"}}},
	"github-package.json": {"github", map[string]string{"X-GitHub-Event": "registry_package"}, Event{
		Name: "registry_package", Timed: true, Moves: true,
		Repositories: []string{"github.com/codertocat/hello-world-npm"}, Images: []string{"ghcr.io/codertocat/hello-world"}}},
	"gitea.json": {"gitea", map[string]string{"X-Gitea-Event": "push", "X-Gitea-Delivery": "f6266f16"}, Event{
		Name: "push", Delivery: "f6266f16", Moves: true, Repositories: []string{"localhost/example/example"}}},
	"gitlab.json": {"gitlab", map[string]string{"X-Gitlab-Event": "Push Hook", "Idempotency-Key": "k", "X-Gitlab-Event-UUID": "u"}, Event{
		Name: "Push Hook", Delivery: "k", Moves: true, Repositories: []string{"example.com/mike/diaspora"}}},
	"bitbucket.json": {"bitbucket", map[string]string{"X-Event-Key": "repo:refs_changed", "X-Request-Id": "r"}, Event{
		Name: "repo:refs_changed", Delivery: "r", Timed: true, Moves: true,
		Repositories: []string{"bitbucket.redacted.com/scm/~abursavich/hook-test", "bitbucket.redacted.com/~abursavich/hook-test"}}},
	"bitbucket-old.json": {"bitbucket", map[string]string{"X-Event-Key": "repo:refs_changed"}, Event{
		Name: "repo:refs_changed", Timed: true, Moves: true,
		Repositories: []string{"server.bitbucket.local/~gopher/webhook-test", "server.bitbucket.local/scm/~gopher/webhook-test"}}},
	"bitbucket-cloud.json": {"bitbucket", map[string]string{"X-Event-Key": "repo:push", "X-Request-UUID": "r"}, Event{
		Name: "repo:push", Delivery: "r", Moves: true, Repositories: []string{"bitbucket.org/team_name/repo_name"}}},
	"harbor.json": {"harbor", nil, Event{Timed: true, Moves: true, Images: []string{"hub.harbor.com/test-webhook/debian"}}},
	"harbor-cloud.json": {"harbor", nil, Event{ // localhost without a port is no registry, here as in an ImageRepository
		Delivery: "66e18103-09c1-41f6-982f-37df223f3eeb", Moves: true, Images: []string{"index.docker.io/localhost/harbor/alpine"}}},
	"dockerhub.json": {"dockerhub", nil, Event{Timed: true, Moves: true, Images: []string{"index.docker.io/svendowideit/testhook"}}},
	"quay.json":      {"quay", nil, Event{Moves: true, Images: []string{"quay.io/hiddeco/foo"}}},
	"gcr.json":       {"gcr", nil, Event{Delivery: "981636256311680", Moves: true, Images: []string{"us.gcr.io/am/am.kebab.api"}}},
	"nexus.json":     {"nexus", map[string]string{"X-Nexus-Webhook-Delivery": "d"}, Event{Delivery: "d", Timed: true, Moves: true}},
	"acr.json": {"acr", nil, Event{
		Delivery: "cb8c3971-9adc-488b-xxxx-43cbb4974ff5", Moves: true, Images: []string{"myregistry.azurecr.io/hello-world"}}},
	"cdevents.json": {"cdevents", map[string]string{"Ce-Type": "dev.cdevents.change.merged"}, Event{
		Name: "dev.cdevents.change.merged", Delivery: "/event/source/123 271069a8-fc18-44f1-b38f-9d70a1695819", Moves: true,
		Repositories: []string{"example.org/testrepo/testorg"}}},
}

func header(values map[string]string) http.Header {
	h := http.Header{}
	for k, v := range values {
		h.Set(k, v)
	}
	return h
}

func TestSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(samples) {
		t.Fatalf("%d files and %d samples: %v", len(files), len(samples), err)
	}
	for name, s := range samples {
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Read(s.kind, header(s.header), body)
			if err != nil {
				t.Fatal(err)
			}
			got.Body = nil
			if diff := cmp.Diff(&s.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Bodies of another shape name nothing, and bodies that are none are refused; nothing makes a reader fall over.
func TestOtherBodies(t *testing.T) {
	shapes := map[string]string{
		"null repository": `{"repository": null, "project": null, "event_data": null, "push_data": null, "message": null}`, "empty": `{}`,
		"other types": `{"repository": "x", "project": [], "package": 1, "links": {}}`, "empty lists": `{"changes": [], "event_data": {"resources": []}}`,
		"names that are none": `{"repository": {"clone_url": "../../etc", "ssh_url": "https://github.com/.*", "repo_name": "UPPER case", "full_name": "a\nb"}}`,
	}
	for kind := range readers {
		for what, body := range shapes {
			e, err := Read(kind, http.Header{}, []byte(body))
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: %v", kind, what, err)
			}
			if err == nil && len(e.Images) > 0 {
				t.Errorf("%s, %s: %+v", kind, what, e)
			}
		}
		for what, body := range map[string]string{"no JSON": `{"a`, "a list": `[{"repository": {}}]`, "a number": `1`, "deep": strings.Repeat(`{"repository":`, 20_000)} {
			h := header(map[string]string{"Content-Type": "application/json"})
			if _, err := Read(kind, h, []byte(body)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: %v", kind, what, err)
			}
		}
	}
	if _, err := Read("svn", http.Header{}, nil); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestForm(t *testing.T) {
	h := header(map[string]string{"Content-Type": "application/x-www-form-urlencoded", "X-GitHub-Event": "push"})
	e, err := Read("github", h, []byte(`payload=%7B%22repository%22%3A%7B%22clone_url%22%3A%22https%3A%2F%2Fgithub.com%2Forg%2Fapp.git%22%7D%7D`))
	if err != nil || len(e.Repositories) != 1 || e.Repositories[0] != "github.com/org/app" || !strings.HasPrefix(string(e.Body), `{"repository"`) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := Read("github", h, []byte(`other=1`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a form without a payload: %v", err)
	}
}

func TestGenericNames(t *testing.T) {
	e, err := Read("generic-hmac", http.Header{}, []byte(`{"repository": "git@github.com:org/app.git", "images": ["ghcr.io/org/app:1.2@sha256:abc", "app"]}`))
	if err != nil || cmp.Diff(e.Repositories, []string{"github.com/org/app"}) != "" || cmp.Diff(e.Images, []string{"ghcr.io/org/app", "index.docker.io/library/app"}) != "" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, body := range []string{"", "hello", "[1]"} {
		if e, err := Read("generic", http.Header{}, []byte(body)); err != nil || e.Body != nil {
			t.Errorf("%q: %+v, %v", body, e, err)
		}
	}
}

// GitLab gives all events of a chain one id: only with the body it tells them apart.
func TestGitLabChain(t *testing.T) {
	h := header(map[string]string{"X-Gitlab-Event-UUID": "u"})
	a, err1 := Read("gitlab", h, []byte(`{"object_kind": "push", "after": "1"}`))
	b, err2 := Read("gitlab", h, []byte(`{"object_kind": "push", "after": "2"}`))
	if err := errors.Join(err1, err2); err != nil || a.Delivery == b.Delivery {
		t.Errorf("%q and %q, %v", a.Delivery, b.Delivery, err)
	}
}

// fuzz holds a reader against any body: it ends, and what it names is bounded and in normal form.
func fuzz(f *testing.F, kind string) {
	for name, s := range samples {
		if s.kind != kind && !(kind == "github" && s.kind == "gitea") {
			continue
		}
		body, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, s.header["X-GitHub-Event"]+s.header["X-Event-Key"])
	}
	f.Add([]byte(`{"repository": null}`), "push")
	f.Add([]byte(`{"repository": "https://a/b", "images": ["a", null, 1]}`), "")
	f.Fuzz(func(t *testing.T, body []byte, event string) {
		h := header(map[string]string{"Content-Type": "application/json", "X-GitHub-Event": event, "X-Event-Key": event})
		e, err := Read(kind, h, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if len(e.Repositories) > maxNames || len(e.Images) > maxNames {
			t.Errorf("%d repositories, %d images", len(e.Repositories), len(e.Images))
		}
		for _, name := range append(e.Repositories, e.Images...) {
			if !strings.Contains(name, "/") || strings.ContainsAny(name, "\n\x00") && len(e.Images) > 0 {
				t.Errorf("name %q", name)
			}
		}
	})
}

func FuzzGeneric(f *testing.F)   { fuzz(f, "generic") }
func FuzzGitHub(f *testing.F)    { fuzz(f, "github") }
func FuzzGitLab(f *testing.F)    { fuzz(f, "gitlab") }
func FuzzBitbucket(f *testing.F) { fuzz(f, "bitbucket") }
func FuzzHarbor(f *testing.F)    { fuzz(f, "harbor") }
func FuzzDockerHub(f *testing.F) { fuzz(f, "dockerhub") }
func FuzzQuay(f *testing.F)      { fuzz(f, "quay") }
func FuzzGCR(f *testing.F)       { fuzz(f, "gcr") }
func FuzzNexus(f *testing.F)     { fuzz(f, "nexus") }
func FuzzACR(f *testing.F)       { fuzz(f, "acr") }
func FuzzCDEvents(f *testing.F)  { fuzz(f, "cdevents") }

// FuzzForm holds the reader of forms against any body.
func FuzzForm(f *testing.F) {
	f.Add([]byte("payload=%7B%7D"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Read("github", header(map[string]string{"Content-Type": "application/x-www-form-urlencoded"}), body); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
