package git

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/libs/git/wire"
)

// Whoever asks for the same at the same time shares one list of refs and one
// fetch.
func TestManyFollowersOfOneRepository(t *testing.T) {
	for name, o := range map[string]gittest.Options{"v2": {}, "v0": {ProtocolV0: true}, "password": {Username: "jane", Password: "x"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, o)
			w.auth.Username, w.auth.Password = o.Username, o.Password
			w.write("a", "1")
			before := w.server.Requests()
			const followers = 40
			errs := make([]error, followers)
			files := make([]map[string]string, followers)
			start := make(chan struct{})
			var all sync.WaitGroup
			for i := range followers {
				all.Go(func() {
					<-start
					files[i], errs[i] = w.tryFiles(t.Context(), w.source(Ref{Branch: "main"}), Selection{})
				})
			}
			close(start)
			all.Wait()
			for i := range followers {
				if errs[i] != nil || files[i]["a"] != "1" {
					t.Fatalf("follower %d got %v, %v", i, files[i], errs[i])
				}
			}
			// One list, perhaps a second for those who were late, each with its
			// advertisement, and one fetch.
			requests := w.server.Requests()[len(before):]
			if len(requests) > 6 {
				t.Errorf("%d followers made %d requests", followers, len(requests))
			}
			var fetched int
			for _, r := range requests {
				if r.Method == http.MethodPost && r.ResponseBytes > 150 {
					fetched++
				}
			}
			if fetched > 1 {
				t.Errorf("fetched %d times: %+v", fetched, requests)
			}
		})
	}
}

// Another credential is another question: what one may see says nothing about
// another.
func TestCredentialsShareNothing(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: "x"})
	w.write("a", "1")
	good, bad := w.source(Ref{Branch: "main"}), w.source(Ref{Branch: "main"})
	good.Auth, bad.Auth = Auth{Username: "jane", Password: "x"}, Auth{Username: "jane", Password: "wrong"}
	good.CredentialID, bad.CredentialID = "ns/secret", "ns/secret" // the same Secret, as it was and as it is
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := w.tryFiles(t.Context(), good, Selection{}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := w.tryFiles(t.Context(), bad, Selection{}); !errors.Is(err, ErrAuthentication) {
				t.Error("let in with a wrong password:", err)
			}
		})
	}
	all.Wait()
}

// A listing that began before somebody asked is not for them: there may have
// been a push since.
func TestListingsAreNotOlderThanTheQuestion(t *testing.T) {
	l := newListings()
	began, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = l.list(context.Background(), "k", func(context.Context) ([]wire.Ref, error) {
			close(began)
			<-release
			return []wire.Ref{{Name: "old"}}, nil
		})
	}()
	<-began
	asked := make(chan struct{})
	go func() { // it cannot begin before the first is done
		time.Sleep(20 * time.Millisecond)
		close(asked)
		close(release)
	}()
	refs, err := l.list(t.Context(), "k", func(context.Context) ([]wire.Ref, error) {
		select {
		case <-asked:
		default:
			t.Error("two listings of the same at once")
		}
		return []wire.Ref{{Name: "new"}}, nil
	})
	if err != nil || len(refs) != 1 || refs[0].Name != "new" {
		t.Fatalf("%v, %v", refs, err)
	}
}

// When the one who asks is called off, somebody else asks.
func TestListingIsTakenOver(t *testing.T) {
	l := newListings()
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, err := l.list(ctx, "k", func(ctx context.Context) ([]wire.Ref, error) {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-began
	for range 5 {
		all.Go(func() {
			refs, err := l.list(t.Context(), "k", func(context.Context) ([]wire.Ref, error) { return []wire.Ref{{Name: "x"}}, nil })
			if err != nil || len(refs) != 1 {
				t.Error(refs, err)
			}
		})
	}
	cancel()
	all.Wait()
	if len(l.waiting)+len(l.running) != 0 {
		t.Errorf("%d listings left", len(l.waiting)+len(l.running))
	}
}

func TestInsecureHosts(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	for hosts, allowed := range map[string]bool{"*": true, "127.0.0.1": true, "127.*": true, "git.example.com": false, "": false} {
		m, err := NewMirrors(Options{Dir: t.TempDir(), InsecureHosts: []string{hosts}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Resolve(t.Context(), w.source(Ref{Branch: "main"}))
		if allowed != (err == nil) {
			t.Errorf("%q: %v", hosts, err)
		}
		if err == nil {
			_ = r.Close()
		} else {
			wantError(t, err, ErrURLInvalid, "plain HTTP")
		}
	}
}

func TestBuiltInHostKeys(t *testing.T) {
	w := newWorld(t, gittest.Options{SSH: true})
	auth := Auth{Identity: w.server.ClientKey()}
	// The test server's name is unknown, so without known_hosts it is refused
	// before anything is sent.
	_, err := w.mirrors.Resolve(t.Context(), Source{URL: w.server.SSHURL("app"), Auth: auth})
	wantError(t, err, ErrAuthentication, "known_hosts")
	if n := w.server.SSHConnections(); n != 0 {
		t.Fatalf("%d connections", n)
	}
	// A known name with another key behind it is refused, too: the server is
	// reached under that name by a proxy.
	proxied := auth
	proxied.Proxy = "socks5://" + socks(t, strings.TrimPrefix(w.server.SSHURL("app"), "ssh://git@"))
	_, err = w.mirrors.Resolve(t.Context(), Source{URL: "ssh://git@github.com/app.git", Auth: proxied})
	wantError(t, err, ErrHostKey, "github.com", "none that the host has published")
	proxied.KnownHosts = []byte("github.com " + strings.SplitN(string(w.server.KnownHosts()), " ", 2)[1])
	if _, err = w.mirrors.Resolve(t.Context(), Source{URL: "ssh://git@github.com/app.git", Ref: Ref{Branch: "main"}, Auth: proxied}); !errors.Is(err, ErrEmpty) {
		t.Fatal("the Secret's known_hosts do not win:", err)
	}
}
