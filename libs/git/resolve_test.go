package git

import (
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/gittest"
)

func TestEveryKindOfRef(t *testing.T) {
	protocols(t, func(t *testing.T, w *world) {
		first := w.write("a.yaml", "1")
		second := w.write("a.yaml", "2")
		feature := w.commit(gittest.Commit{Branch: "feature/x", Parent: first, Files: map[string]string{"a.yaml": "3"}})
		w.commit(gittest.Commit{Branch: "master", Parent: first, Files: map[string]string{"a.yaml": "master"}})

		master, _ := w.repo.Resolve(t.Context(), "refs/heads/master")
		w.do(w.repo.AnnotatedTag(t.Context(), "v1.0.0", first, "one"))
		w.do(w.repo.Tag(t.Context(), "v1.1.0", second))
		w.do(w.repo.AnnotatedTag(t.Context(), "v2.0.0-rc.1", feature, "two"))
		w.do(w.repo.Tag(t.Context(), "v9", feature))
		w.do(w.repo.Tag(t.Context(), "not-a-version", feature))
		w.do(w.repo.SetRef(t.Context(), "refs/pull/7/head", feature))

		for _, test := range []struct {
			name    string
			ref     Ref
			want    string
			content string
		}{
			{"default", Ref{}, "master@sha1:" + master, "master"},
			{"branch", Ref{Branch: "main"}, "main@sha1:" + second, "2"},
			{"branch with a slash", Ref{Branch: "feature/x"}, "feature/x@sha1:" + feature, "3"},
			{"annotated tag", Ref{Tag: "v1.0.0", Branch: "main"}, "v1.0.0@sha1:" + first, "1"},
			{"lightweight tag", Ref{Tag: "v1.1.0"}, "v1.1.0@sha1:" + second, "2"},
			{"semver wins over tag", Ref{SemVer: ">=1.0.0 <1.1.0", Tag: "v1.1.0"}, "v1.0.0@sha1:" + first, "1"},
			{"semver takes the highest", Ref{SemVer: ">=1.0.0"}, "v1.1.0@sha1:" + second, "2"},
			{"semver with prereleases", Ref{SemVer: ">=1.0.0-0"}, "v2.0.0-rc.1@sha1:" + feature, "3"},
			{"name wins over semver", Ref{Name: "refs/pull/7/head", SemVer: "*"}, "refs/pull/7/head@sha1:" + feature, "3"},
			{"name of a branch", Ref{Name: "refs/heads/main"}, "refs/heads/main@sha1:" + second, "2"},
			{"name of a tag", Ref{Name: "refs/tags/v1.0.0"}, "refs/tags/v1.0.0@sha1:" + first, "1"},
			{"name of a peeled tag", Ref{Name: "refs/tags/v1.0.0^{}"}, "refs/tags/v1.0.0^{}@sha1:" + first, "1"},
			{"commit", Ref{Commit: first}, "sha1:" + first, "1"},
			{"commit in capitals", Ref{Commit: strings.ToUpper(first)}, "sha1:" + first, "1"},
			{"commit wins, branch names it", Ref{Commit: first, Branch: "main", Tag: "v9"}, "main@sha1:" + first, "1"},
			{"commit wins, name names it", Ref{Commit: first, Name: "refs/heads/main"}, "refs/heads/main@sha1:" + first, "1"},
			{"commit at a tip", Ref{Commit: second, Branch: "main"}, "main@sha1:" + second, "2"},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := w.resolve(test.ref)
				if got := r.Revision().String(); got != test.want {
					t.Fatalf("revision %s, want %s", got, test.want)
				}

				s, err := r.Fetch(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := w.files(s, Selection{})["a.yaml"]; got != test.content {
					t.Fatalf("content %q, want %q", got, test.content)
				}
				if HashOf(r.Revision().String()) != s.Commit.Hash {
					t.Fatalf("%s and %s differ", r.Revision(), s.Commit.Hash)
				}
			})
		}
	})
}

func TestRefsThatAreNotThere(t *testing.T) {
	protocols(t, func(t *testing.T, w *world) {
		hash := w.write("a", "1")
		w.commit(gittest.Commit{Branch: "other", Orphan: true, Files: map[string]string{"a": "2"}})
		nowhere := strings.Repeat("12345678", 5)
		for name, test := range map[string]struct {
			ref   Ref
			words string
		}{
			"branch":           {Ref{Branch: "gone"}, `couldn't find remote ref "refs/heads/gone"`},
			"prefix of branch": {Ref{Branch: "mai"}, `"refs/heads/mai"`},
			"default":          {Ref{}, `"refs/heads/master"`},
			"tag":              {Ref{Tag: "v1"}, `"refs/tags/v1"`},
			"semver":           {Ref{SemVer: "1.x"}, "no match found for semver: 1.x"},
			"name":             {Ref{Name: "refs/pull/1/head"}, `"refs/pull/1/head"`},
			"commit":           {Ref{Commit: nowhere}, nowhere},
			"branch of commit": {Ref{Commit: hash, Branch: "gone"}, `"refs/heads/gone"`},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := w.tryFiles(t.Context(), w.source(test.ref), Selection{})
				wantError(t, err, ErrNotFound, test.words)
				if Reason(err) != sourcev1.GitOperationFailedReason || Stalled(err) {
					t.Errorf("reason %s, stalled %v", Reason(err), Stalled(err))
				}
			})
		}
	})
}

func TestEmptyRepository(t *testing.T) {
	protocols(t, func(t *testing.T, w *world) {
		for _, ref := range []Ref{{}, {Branch: "main"}, {Tag: "v1"}} {
			_, err := w.mirrors.Resolve(t.Context(), w.source(ref))
			wantError(t, err, ErrEmpty)
			if Reason(err) != "EmptyGitRepository" {
				t.Errorf("reason %s", Reason(err))
			}
		}
	})
}

func TestMissingRepository(t *testing.T) {
	protocols(t, func(t *testing.T, w *world) {
		src := w.source(Ref{Branch: "main"})
		src.URL = strings.Replace(src.URL, "app", "nothing", 1)
		_, err := w.mirrors.Resolve(t.Context(), src)
		wantError(t, err, ErrNotFound, "127.0.0.1", "nothing.git")
	})
}

func TestInvalidRefs(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	for _, ref := range []Ref{
		{Branch: "-x"}, {Branch: "a..b"}, {Branch: "../../config"}, {Branch: "a b"}, {Branch: "a\nb"}, {Branch: "a.lock"},
		{Tag: "-x"}, {Tag: "a~1"}, {Name: "-x"}, {Name: "main"}, {Name: "/refs/heads/main"}, {Name: "refs/heads/main/"}, {Name: "refs/heads/a\x00b"},
		{Commit: "abc"}, {Commit: "main"}, {Commit: strings.Repeat("g", 40)}, {Commit: "-" + strings.Repeat("a", 39)}, {SemVer: "nonsense"}, {SemVer: "-"},
	} {
		_, err := w.mirrors.Resolve(t.Context(), w.source(ref))
		wantError(t, err, ErrRefInvalid)
		if !Stalled(err) {
			t.Errorf("%+v: not stalled", ref)
		}
	}
	if n := len(w.server.Requests()); n != 0 {
		t.Errorf("%d requests for nothing", n)
	}
}

// Versions that differ only in their build metadata have the same precedence:
// the commit that was committed last wins.
func TestSemVerTies(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	young := w.commit(gittest.Commit{Files: map[string]string{"a": "young"}, Time: day.Add(48 * time.Hour)})
	old := w.commit(gittest.Commit{Files: map[string]string{"a": "old"}, Time: day})
	w.do(w.repo.Tag(t.Context(), "1.0.0+a", young))
	w.do(w.repo.AnnotatedTag(t.Context(), "1.0.0+b", old, "old"))
	if got, want := w.resolve(Ref{SemVer: "1.x"}).Revision().String(), "1.0.0+a@sha1:"+young; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestRefFrom(t *testing.T) {
	if RefFrom(nil) != (Ref{}) {
		t.Error("nil gives something")
	}
	spec := &sourcev1.GitRepositoryRef{Branch: "a", Tag: "b", SemVer: "c", Name: "d", Commit: "e"}
	if got, want := RefFrom(spec), (Ref{"a", "b", "c", "d", "e"}); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestHashOf(t *testing.T) {
	hash := strings.Repeat("0a", 20)
	for text, want := range map[string]string{
		"main@sha1:" + hash: hash, "sha1:" + hash: hash, hash: hash, "feature/x@sha1:" + hash: hash, "main/" + hash: hash,
		"": "", "main": "", "main@sha1:" + hash[1:]: "", "main@sha1:" + strings.ToUpper(hash): "",
	} {
		if got := HashOf(text); got != want {
			t.Errorf("%q gives %q", text, got)
		}
	}
}
