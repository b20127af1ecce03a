package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/wire"
	"github.com/sluice-cd/sluice/libs/gittest"
)

// Ten writers of the same branch, over both protocols: nobody's commit is lost.
func TestRivals(t *testing.T) {
	w := newWorld(t, gittest.Options{SSH: true})
	w.seed(gittest.Commit{Files: map[string]string{"log": "start\n"}})
	const rivals, each = 10, 2
	var all sync.WaitGroup
	for i := range rivals {
		o := w.options("")
		o.Mirrors = openMirrors(t)
		if i%2 == 0 {
			o.Source.URL, o.Source.Auth = w.server.URL("app"), git.Auth{}
		}
		all.Go(func() {
			for j := range each {
				mark := fmt.Sprintf("rival %d commit %d\n", i, j)
				if _, err := Update(t.Context(), Job{Options: o, Attempts: 200, Make: appendTo("log", mark)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := w.git("rev-list", "--count", "main"); got != fmt.Sprint(1+rivals*each) {
		t.Errorf("%s commits", got)
	}
	log := w.git("show", "main:log")
	for i := range rivals {
		for j := range each {
			if strings.Count(log, fmt.Sprintf("rival %d commit %d\n", i, j)+"") > 1 || !strings.Contains(log+"\n", fmt.Sprintf("rival %d commit %d\n", i, j)) {
				t.Errorf("of rival %d commit %d: %s", i, j, log)
			}
		}
	}
	w.sound()
}

// appendTo is a change that has to be made on top of everybody else's.
func appendTo(path, text string) func(context.Context, *Branch) (*Draft, error) {
	return func(ctx context.Context, b *Branch) (*Draft, error) {
		entries, err := b.Head().List(ctx, path)
		if err != nil {
			return nil, err
		}
		content, err := b.Head().Read(ctx, entries[0].Hash, 1<<20)
		if err != nil {
			return nil, err
		}
		d := draft(path, string(content)+text)
		return &d, nil
	}
}

func TestRaceLost(t *testing.T) {
	protocols(t, func(w *world) {
		w.seed(gittest.Commit{Files: map[string]string{"a": "1", "b": "1"}})
		b := w.open("")
		c := w.commit(b, draft("a", "2"))
		fresh := w.open("auto")
		created := w.commit(fresh, draft("a", "2"))
		other := w.seed(gittest.Commit{Files: map[string]string{"b": "2"}})
		w.do(w.repo.SetRef(w.Context(), "refs/heads/auto", other))
		wantError(w.T, b.Push(w.Context(), c, PushOptions{}), git.ErrRaceLost)
		wantError(w.T, fresh.Push(w.Context(), created, PushOptions{}), git.ErrRaceLost)
		if got := w.git("rev-parse", "main", "auto"); got != other+"\n"+other {
			w.Error(got)
		}
	})
}

// The race can also be lost between the server's list and the push.
func TestRaceLostAtTheServer(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1", "b": "1"}})
	b := w.open("")
	c := w.commit(b, draft("a", "2"))
	var other string
	w.server.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if isPush(r) && other == "" {
			other = w.seed(gittest.Commit{Files: map[string]string{"b": "2"}})
		}
		return false
	})
	wantError(t, b.Push(t.Context(), c, PushOptions{}), git.ErrRaceLost)
	if got := w.git("rev-parse", "main"); got != other {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		hook, script string
		kind         error
		words        string
	}{
		"hook":                 {"pre-receive", "echo 'no secrets here, please' >&2; exit 1", git.ErrDeclined, "no secrets here, please"},
		"update hook":          {"update", "exit 1", git.ErrDeclined, "hook declined"},
		"protected, GitHub":    {"pre-receive", "echo 'error: GH006: Protected branch update failed for refs/heads/main.' >&2; exit 1", git.ErrProtected, "GH006"},
		"protected, GitLab":    {"pre-receive", "echo 'GitLab: You are not allowed to push code to protected branches on this project.' >&2; exit 1", git.ErrProtected, ""},
		"protected, Gitea":     {"pre-receive", "echo 'Gitea: Not allowed to push to protected branch main' >&2; exit 1", git.ErrProtected, ""},
		"protected, Bitbucket": {"pre-receive", "echo 'Branch refs/heads/main can only be modified through pull requests.' >&2; exit 1", git.ErrProtected, ""},
		"read-only":            {"pre-receive", "echo 'This repository is archived.' >&2; exit 1", git.ErrReadOnly, ""},
		"a hook that lies":     {"pre-receive", "echo 'ng refs/heads/main fetch first'; echo 'non-fast-forward' >&2; exit 1", git.ErrDeclined, ""},
		"a hook that rambles":  {"pre-receive", "yes '\033[31mno' | head -c 3000000 >&2; exit 1", git.ErrDeclined, "[31mno"},
	} {
		for _, ssh := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ssh %v", name, ssh), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, gittest.Options{SSH: ssh})
				first := w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
				w.do(w.repo.InstallHook(test.hook, test.script))
				_, err := push(t.Context(), w.open(""), draft("a", "2"))
				wantError(t, err, test.kind, test.words)
				var refusal *wire.Refusal
				if !errors.As(err, &refusal) || refusal.Ref != "refs/heads/main" || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\033") {
					t.Errorf("%q", err)
				}
				if got := w.git("rev-parse", "main"); got != first {
					t.Error("the branch has moved")
				}
			})
		}
	}
}

func TestReadOnly(t *testing.T) {
	protocols(t, func(w *world) {
		w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
		w.do(w.repo.ReadOnly(w.Context(), true))
		_, err := push(w.Context(), w.open(""), draft("a", "2"))
		wantError(w.T, err, git.ErrReadOnly)
		w.do(w.repo.ReadOnly(w.Context(), false))
		_, err = push(w.Context(), w.open(""), draft("a", "2"))
		w.do(err)
	})
}

func TestNoWayIn(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "right"})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	b := w.open("")
	c := w.commit(b, draft("a", "2"))
	b.source.Auth.Password = "wrong-secret"
	err := b.Push(t.Context(), c, PushOptions{})
	wantError(t, err, git.ErrAuthentication)
	if strings.Contains(err.Error(), "wrong-secret") {
		t.Error(err)
	}
	o := w.options("")
	o.Source.Auth.Password = "wrong"
	_, err = Open(t.Context(), o)
	wantError(t, err, git.ErrAuthentication)
	o = w.options("")
	o.Source.URL = w.server.URL("missing")
	_, err = Open(t.Context(), o)
	wantError(t, err, git.ErrNotFound)
	o = w.options("")
	o.Source.Ref = git.Ref{Branch: "missing"}
	_, err = Open(t.Context(), o)
	wantError(t, err, git.ErrNotFound)
	b.source = w.options("").Source
	w.do(w.server.Close())
	wantError(t, b.Push(t.Context(), c, PushOptions{}), git.ErrUnreachable)
	_, err = Open(t.Context(), w.options(""))
	wantError(t, err, git.ErrUnreachable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, b.Push(ctx, c, PushOptions{}), context.Canceled)
}

// An answer that gets lost is asked for again.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	w.server.SetFault(func(git http.Handler, rw http.ResponseWriter, r *http.Request) {
		if isPush(r) {
			rw = httptest.NewRecorder()
			defer panic(http.ErrAbortHandler)
		}
		git.ServeHTTP(rw, r)
	})
	o := w.options("")
	c, err := Update(t.Context(), Job{Options: o, Make: appendTo("a", "2")})
	w.do(err)
	if got := w.git("rev-parse", "main"); got != c.Hash {
		t.Error(got)
	}
}

// A push that breaks off in the middle changes nothing, and the next one works.
func TestBrokenOff(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	first := w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	w.server.SetFault(func(git http.Handler, rw http.ResponseWriter, r *http.Request) {
		if isPush(r) {
			halve(r)
			rw = httptest.NewRecorder()
			defer panic(http.ErrAbortHandler)
		}
		git.ServeHTTP(rw, r)
	})
	o := w.options("")
	job := Job{Options: o, Make: func(context.Context, *Branch) (*Draft, error) {
		d := draft("a", strings.Repeat("2\n", 1000), "b", strings.Repeat(o.Source.URL, 1000))
		return &d, nil
	}}
	_, err := Update(t.Context(), job)
	wantError(t, err, git.ErrUnreachable)
	if got := w.git("rev-parse", "main"); got != first {
		t.Fatal("the branch has moved")
	}
	w.server.SetFault(nil)
	c, err := Update(t.Context(), job)
	w.do(err)
	if got := w.git("rev-parse", "main"); got != c.Hash {
		t.Error(got)
	}
	w.sound()
}

func isPush(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "receive-pack")
}

// halve cuts a request off in the middle.
func halve(r *http.Request) {
	half, _ := io.ReadAll(io.LimitReader(r.Body, r.ContentLength/2))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(half)), int64(len(half))
}

// Neither credentials nor a push follow the server to another host, and an answer
// without end is cut.
func TestHostileServers(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("went to another host") }))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		answer func(rw http.ResponseWriter, r *http.Request)
		kind   error
	}{
		"redirect": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, elsewhere.URL+r.URL.String(), http.StatusFound)
		}, git.ErrRedirect},
		"endless": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
			for i := 0; r.Context().Err() == nil; i++ {
				line := fmt.Sprintf("%040d refs/heads/%d\n", i, i)
				if i == 0 {
					line = fmt.Sprintf("%040d refs/heads/x\x00report-status\n", i)
				}
				if _, err := fmt.Fprintf(rw, "%04x%s", len(line)+4, line); err != nil {
					return
				}
			}
		}, git.ErrTooLarge},
		"sorry": {func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "", http.StatusServiceUnavailable) }, git.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.open("")
			c := w.commit(b, draft("a", "2"))
			w.server.SetHook(func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.RawQuery, "receive-pack") {
					return false
				}
				test.answer(rw, r)
				return true
			})
			defer w.server.SetHook(nil)
			wantError(t, b.Push(t.Context(), c, PushOptions{}), test.kind)
		})
	}
}

func TestPushOptions(t *testing.T) {
	protocols(t, func(w *world) {
		w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
		o := PushOptions{Options: []string{"merge_request.create", "title=a b=c"}}
		b := w.open("")
		c := w.commit(b, draft("a", "2"))
		wantError(w.T, b.Push(w.Context(), c, o), git.ErrOptions)
		w.do(w.repo.Config(w.Context(), "receive.advertisePushOptions", "true"))
		w.do(w.repo.InstallHook("post-receive", `echo "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1" > seen`))
		wantError(w.T, b.Push(w.Context(), c, PushOptions{Options: []string{"a\nb"}}), git.ErrOptions)
		w.do(b.Push(w.Context(), c, o))
		if got := w.git("rev-parse", "main"); got != c.Hash {
			w.Error(got)
		}
		if got := w.git("hash-object", "seen"); got != git.NewBlob([]byte("2 merge_request.create title=a b=c\n")).Hash {
			w.Error("the hook did not get the options")
		}
	})
}

func TestRefspec(t *testing.T) {
	protocols(t, func(w *world) {
		first := w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
		for i := range 3 {
			w.seed(gittest.Commit{Files: map[string]string{"b": fmt.Sprint(i)}})
		}
		w.do(w.repo.SetRef(w.Context(), "refs/heads/behind", first))
		stranger := w.seed(gittest.Commit{Branch: "stranger", Orphan: true, Files: map[string]string{"x": "1"}})
		for _, to := range []string{"refs/for/main", "refs/heads/behind", "refs/heads/main"} {
			b := w.open("")
			c := w.commit(b, draft("a", to))
			w.do(b.Push(w.Context(), c, PushOptions{Refspec: "HEAD:" + to}))
			if got := w.git("rev-parse", "main", to); got != c.Hash+"\n"+c.Hash {
				w.Errorf("%s: %s", to, got)
			}
		}
		before := w.git("rev-parse", "main")
		b := w.open("")
		c := w.commit(b, draft("a", "last"))
		wantError(w.T, b.Push(w.Context(), c, PushOptions{Refspec: "HEAD:refs/heads/stranger"}), ErrRewind)
		if got := w.git("rev-parse", "main", "stranger"); got != before+"\n"+stranger {
			w.Error(got)
		}
		w.sound()
	})
}

// A commit that does not stand on the branch is not pushed, whatever its maker thinks.
func TestNeverRewinds(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	b := w.open("")
	c := w.commit(b, draft("a", "2"))
	tip := w.seed(gittest.Commit{Files: map[string]string{"b": "1"}})
	wantError(t, w.open("").Push(t.Context(), c, PushOptions{}), ErrRewind)
	for _, u := range []wire.Update{
		{Ref: "refs/heads/main", Old: tip, New: strings.Repeat("0", 40)}, {Ref: "refs/heads/main", Old: tip}, {Ref: "+refs/heads/main", Old: tip, New: c.Hash},
		{Ref: "refs/heads/+x", New: c.Hash}, {Ref: "main", New: c.Hash}, {Ref: "refs/heads/main", Old: tip, New: tip}, {Ref: "refs/heads/a\x00b", New: c.Hash}, {Ref: "refs/heads/a b", New: c.Hash},
	} {
		pusher, err := w.mirrors.Pusher(w.options("").Source)
		w.do(err)
		if err := pusher.Push(t.Context(), wire.PushRequest{Updates: []wire.Update{u}, Pack: c.Pack}); err == nil {
			t.Errorf("took %+v", u)
		}
	}
	if got := w.git("rev-parse", "main"); got != tip {
		t.Error("the branch has moved")
	}
}

func TestDestination(t *testing.T) {
	for spec, want := range map[string]string{
		"refs/heads/main:refs/heads/auto": "refs/heads/auto", "HEAD:refs/for/main": "refs/for/main", "refs/heads/main": "refs/heads/main", "HEAD:refs/for/main/topic": "refs/for/main/topic",
	} {
		if got, err := Destination(spec); err != nil || got != want {
			t.Errorf("%q: %q, %v", spec, got, err)
		}
	}
	for _, spec := range []string{
		"", ":", ":refs/heads/main", "main:", "+main:refs/heads/main", "+refs/heads/main", "main:main", "main:refs/heads/*", "refs/heads/*:refs/heads/*", "a:refs/heads/b:c", "a:refs/heads/../config",
		"a:refs/heads/-x", "-x:refs/heads/x", "a:refs/heads/x y", "a:refs/heads/x\n", "a:+refs/heads/x", "a:refs/heads/+x", "a b:refs/heads/x", "^a:refs/heads/x", "a:refs/heads/x.lock",
	} {
		if got, err := Destination(spec); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q, %v", spec, got, err)
		}
	}
	for _, name := range []string{"-x", "+x", "a b", "a..b", "x.lock", "refs/../x", "a\x00", "*"} {
		if _, err := (Options{Push: name}).ref(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := (Options{Source: git.Source{Ref: git.Ref{Branch: "main", Tag: "v1"}}}).ref(); !errors.Is(err, ErrInvalid) {
		t.Error("pushes to a tag")
	}
}
