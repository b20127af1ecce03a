package git

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sluice-cd/sluice/libs/gittest"
)

const secret = "s3cr3t-t0ken"

// try goes the whole way with the data of a Secret.
func (w *world) try(url string, data map[string][]byte) error {
	auth, err := AuthFromSecret(url, data)
	if err != nil {
		return err
	}
	_, err = w.tryFiles(w.Context(), Source{URL: url, Ref: Ref{Branch: "main"}, Auth: auth}, Selection{})
	return err
}

func secretData(pairs ...string) map[string][]byte {
	data := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return data
}

// wantRefused checks the reason and that nothing of the credentials is told.
func wantRefused(t *testing.T, err error, words ...string) {
	t.Helper()
	wantError(t, err, ErrAuthentication, words...)
	if Reason(err) != sourcev1.AuthenticationFailedReason || Stalled(err) {
		t.Errorf("reason %s, stalled %v", Reason(err), Stalled(err))
	}
	wantNoSecret(t, err)
}

func wantNoSecret(t *testing.T, err error) {
	t.Helper()
	for _, form := range []string{secret, "amFuZTpzM2NyM3Q"} { // as it is, and as basic authentication sends it
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), form) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestBasicAuthentication(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: secret})
	w.write("a", "1")
	url := w.server.URL("app")
	w.do(w.try(url, secretData("username", "jane", "password", secret)))
	wantRefused(t, w.try(url, nil), url, "401")
	wantRefused(t, w.try(url, secretData("username", "jane", "password", secret+"x")), url)
	wantRefused(t, w.try(url, secretData("bearerToken", secret)), url)
	wantRefused(t, w.try(url, secretData("password", secret)), "'password' requires 'username'")
}

// A credential that is no longer good opens no mirror, whatever is in there.
func TestRevokedCredentials(t *testing.T) {
	w := newWorld(t, gittest.Options{Username: "jane", Password: secret})
	hash := w.write("a", "1")
	src := w.source(Ref{Commit: hash})
	src.CredentialID, src.Auth = "team/secret", Auth{Username: "jane", Password: secret}
	_, err := w.tryFiles(t.Context(), src, Selection{})
	w.do(err)
	src.Auth.Password = "revoked"
	_, err = w.tryFiles(t.Context(), src, Selection{})
	wantRefused(t, err)
}

func TestBearerToken(t *testing.T) {
	w := newWorld(t, gittest.Options{BearerToken: secret})
	w.write("a", "1")
	url := w.server.URL("app")
	w.do(w.try(url, secretData("bearerToken", secret)))
	w.do(w.try(url, secretData("bearerToken", secret+"\n")))
	// A token wins over a password, as in Flux.
	w.do(w.try(url, secretData("bearerToken", secret, "username", "jane", "password", "x")))
	wantRefused(t, w.try(url, secretData("bearerToken", "wrong")), url)
	err := w.try(url, secretData("bearerToken", secret+"\nX-Other: 1"))
	if err == nil {
		t.Fatal("a token of two lines was sent")
	}
	wantNoSecret(t, err)
}

func TestCertificates(t *testing.T) {
	w := newWorld(t, gittest.Options{TLS: true, Username: "jane", Password: secret})
	w.write("a", "1")
	url, login := w.server.URL("app"), []string{"username", "jane", "password", secret}
	other := newWorld(t, gittest.Options{TLS: true})
	cert, key := w.server.ClientCertificate()

	w.do(w.try(url, secretData(append(login, "ca.crt", string(w.server.CA()))...)))
	w.do(w.try(url, secretData(append(login, "caFile", string(w.server.CA()))...)))
	w.do(w.try(url, secretData(append(login, "ca.crt", string(w.server.CA()), "caFile", string(other.server.CA()))...)))
	w.do(w.try(url, secretData(append(login, "ca.crt", string(w.server.CA()), "tls.crt", string(cert), "tls.key", string(key))...)))

	for name, data := range map[string]map[string][]byte{
		"no authority":    secretData(login...),
		"wrong authority": secretData(append(login, "ca.crt", string(other.server.CA()))...),
	} {
		err := w.try(url, data)
		if err == nil || !strings.Contains(err.Error(), "certificate") || Reason(err) != sourcev1.GitOperationFailedReason {
			t.Errorf("%s: %v", name, err)
		}
		wantNoSecret(t, err)
	}
	wantRefused(t, w.try(url, secretData(append(login, "ca.crt", "nonsense")...)), "ca.crt")
	wantRefused(t, w.try(url, secretData(append(login, "tls.crt", string(cert))...)), "tls.key")
	wantRefused(t, w.try(url, secretData(append(login, "tls.crt", string(cert), "tls.key", secret)...)), "no pair")
}

func newIdentity(t *testing.T, passphrase string) (ssh.PublicKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(block)
}

func TestSSHAuthentication(t *testing.T) {
	w := newWorld(t, gittest.Options{SSH: true})
	w.write("a", "1")
	url, hosts := w.server.SSHURL("app"), string(w.server.KnownHosts())
	good := string(w.server.ClientKey())
	host := strings.Fields(hosts)[0]
	otherKey, stranger := newIdentity(t, "")
	_, locked := newIdentity(t, secret)

	w.do(w.try(url, secretData("identity", good, "known_hosts", hosts)))
	w.do(w.try(strings.Replace(url, "git@", "", 1), secretData("identity", good, "known_hosts", hosts)))
	w.do(w.try(url, secretData("identity", good, "known_hosts", "# comment\n\ngithub.com "+strings.SplitN(hosts, " ", 2)[1]+hosts)))
	w.do(w.try(url, secretData("identity", good, "known_hosts", knownhosts.HashHostname(host)+" "+strings.SplitN(hosts, " ", 2)[1])))

	wantRefused(t, w.try(url, nil), "'identity' is required")
	wantRefused(t, w.try(url, secretData("identity", good)), "'known_hosts' is required")
	wantRefused(t, w.try(url, secretData("identity", secret, "known_hosts", hosts)), "usable private key")
	wantRefused(t, w.try(url, secretData("identity", string(stranger), "known_hosts", hosts)), "refused the key")
	wantRefused(t, w.try(url, secretData("identity", string(locked), "known_hosts", hosts)), "encrypted")
	wantRefused(t, w.try(url, secretData("identity", string(locked), "known_hosts", hosts, "password", "wrong")), "private key")
	// The passphrase opens the key; the server does not know it.
	wantRefused(t, w.try(url, secretData("identity", string(locked), "known_hosts", hosts, "password", secret)), "refused the key")

	for name, lines := range map[string]string{
		"other host":         strings.Replace(hosts, host, "github.com", 1),
		"other port":         strings.Replace(hosts, host, "[127.0.0.1]:1", 1),
		"comments":           "# nothing\n",
		"other key":          knownhosts.Line([]string{host}, otherKey),
		"revoked":            "@revoked " + hosts,
		"no known_hosts":     "nonsense",
		"the key by mistake": good,
	} {
		t.Run(name, func(t *testing.T) {
			err := w.try(url, secretData("identity", good, "known_hosts", lines))
			wantError(t, err, ErrHostKey, "127.0.0.1")
			if Reason(err) != sourcev1.AuthenticationFailedReason {
				t.Errorf("reason %s", Reason(err))
			}
			if bytes.Contains([]byte(err.Error()), []byte("BEGIN")) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}

func TestAuthPrintsNothing(t *testing.T) {
	auth := Auth{Username: "jane", Password: secret, BearerToken: secret, Identity: []byte(secret)}
	src := Source{URL: "https://example.com/x", Auth: auth}
	if text := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", auth, auth, auth, auth, src, src, src); strings.Contains(text, secret) {
		t.Fatal(text)
	}
}

func TestURLs(t *testing.T) {
	m := must2(t)(NewMirrors(Options{Dir: t.TempDir()}))
	for _, url := range []string{
		"", "x", "git@github.com:org/repo.git", "github.com/org/repo", "file:///etc", "git://example.com/x", "ext::sh -c id", "ftp://example.com/x",
		"/etc/passwd", "https://", "https:///x", "https://example.com", "https://example.com/", "https://jane@example.com/x", "https://jane:" + secret + "@example.com/x",
		"http://:" + secret + "@example.com/x", "ssh://git:" + secret + "@example.com/x", "-oProxyCommand=x", "--upload-pack=x", "ssh://-oProxyCommand=x/y",
		"ssh://-x@example.com/y", "ssh://example.com/-x", "https://exa mple.com/x", "https://example.com/x%0ay", "https://example.com:" + secret + "/x", "https://example.com/x\ny", "ssh://git@example.com/a%00b",
	} {
		t.Run(url, func(t *testing.T) {
			_, err := m.Resolve(t.Context(), Source{URL: url})
			wantError(t, err, ErrURLInvalid)
			wantNoSecret(t, err)
			if Reason(err) != sourcev1.URLInvalidReason || !Stalled(err) {
				t.Errorf("reason %s, stalled %v", Reason(err), Stalled(err))
			}
			if _, err := AuthFromSecret(url, nil); !errors.Is(err, ErrURLInvalid) {
				t.Errorf("AuthFromSecret: %v", err)
			}
		})
	}
}

// redirecting is a server that sends everything on to another one.
func redirecting(t *testing.T, status int, to func(path string) string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := to(r.URL.Path)
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, status)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestRedirects(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	base := strings.TrimSuffix(w.server.URL("app"), "/app.git")
	login := secretData("username", "jane", "password", secret)
	forward := redirecting(t, http.StatusMovedPermanently, func(path string) string { return base + path })

	w.do(w.try(forward.URL+"/app.git", nil)) // without credentials, to another host
	w.server.ResetRequests()
	err := w.try(forward.URL+"/app.git", login)
	wantError(t, err, ErrRedirect, "another host")
	wantNoSecret(t, err)
	if n := len(w.server.Requests()); n > 0 {
		t.Errorf("%d requests reached the other host", n)
	}

	// What was learned without credentials does not lead them away later.
	src := Source{URL: forward.URL + "/app.git", Ref: Ref{Branch: "main"}, CredentialID: "team/secret"}
	_, err = w.tryFiles(t.Context(), src, Selection{})
	w.do(err)
	w.server.ResetRequests()
	src.Auth = Auth{Username: "jane", Password: secret}
	_, err = w.tryFiles(t.Context(), src, Selection{})
	wantError(t, err, ErrRedirect, "another host")
	if n := len(w.server.Requests()); n > 0 {
		t.Errorf("%d requests with credentials reached the other host", n)
	}

	// Within one host, as servers do for a name without .git.
	w.server.SetHook(func(writer http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/old") {
			http.Redirect(writer, r, strings.Replace(r.URL.String(), "/old", "/app.git", 1), http.StatusFound)
			return true
		}
		return false
	})
	for range 2 { // the second time from what the first has learned
		w.do(w.try(base+"/old", login))
		w.write("a", time.Now().String())
	}
	last := w.server.Requests()[len(w.server.Requests())-1]
	if last.Path != "/app.git/git-upload-pack" || last.Authorization == "" {
		t.Errorf("last request %+v", last)
	}
	w.server.SetHook(nil)

	loop := redirecting(t, http.StatusFound, func(path string) string { return path })
	wantError(t, w.try(loop.URL+"/app.git", nil), ErrRedirect)
	file := redirecting(t, http.StatusFound, func(path string) string { return "file:///etc/passwd" })
	wantError(t, w.try(file.URL+"/app.git", nil), ErrRedirect)
	signIn := redirecting(t, http.StatusFound, func(path string) string { return "/users/sign_in" })
	wantError(t, w.try(signIn.URL+"/app.git", nil), ErrRedirect, "login page")
	tls := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		http.Redirect(writer, r, base+r.URL.String(), http.StatusFound)
	}))
	defer tls.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})
	wantError(t, w.try(tls.URL+"/app.git", map[string][]byte{"ca.crt": ca}), ErrRedirect, "scheme")
}

// A POST that is sent elsewhere is not followed.
func TestRedirectOfTheFetch(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.write("a", "1")
	w.server.SetHook(func(writer http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			http.Redirect(writer, r, "http://127.0.0.1:1/app.git/git-upload-pack", http.StatusTemporaryRedirect)
		}
		return r.Method == http.MethodPost
	})
	wantError(t, w.try(w.server.URL("app"), nil), ErrRedirect)
}

func TestBadServers(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		words   string
	}{
		"500":        {func(w http.ResponseWriter, r *http.Request) { http.Error(w, secret, 500) }, "500"},
		"web page":   {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>hello") }, "no git answer"},
		"empty":      {answer(""), "unexpected EOF"},
		"nonsense":   {answer("zzzz"), "malformed"},
		"length 3":   {answer("0003"), "malformed"},
		"cut off":    {answer("001e# service=git-upload"), "unexpected EOF"},
		"error":      {answer("0014ERR go\x1b[31m away"), "go"},
		"sha256":     {answer("000eversion 2\n0019object-format=sha256\n0000"), "sha256"},
		"bad ref":    {answer("0019not a ref, not at all\n0000"), "malformed"},
		"no service": {answer("001e# service=git-upload-pack\n0006x\n0000"), "service header"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, dir: t.TempDir()}
			w.mirrors = w.open(Limits{})
			server := httptest.NewServer(test.handler)
			defer server.Close()
			err := w.try(server.URL+"/x", nil)
			if err == nil || !strings.Contains(err.Error(), test.words) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Fatalf("got %v", err)
			}
			if Reason(err) != sourcev1.GitOperationFailedReason || Stalled(err) {
				t.Errorf("reason %s", Reason(err))
			}
			wantNoSecret(t, err)
		})
	}
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, text)
	}
}

// A server that never stops talking is hung up on.
func TestEndlessAnswer(t *testing.T) {
	w := &world{T: t, dir: t.TempDir()}
	w.mirrors = w.open(Limits{ListBytes: 1 << 20})
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		answer("")(writer, r)
		line := fmt.Sprintf("003d%s refs/heads/x123\n", strings.Repeat("ab", 20))
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(writer, line); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	wantError(t, w.try(server.URL+"/x", nil), ErrTooLarge)
}

// The context ends every wait: for the connection, the answer and the turn.
func TestTimeout(t *testing.T) {
	w := newWorld(t, gittest.Options{SSH: true})
	w.write("a", "1")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	w.do(err)
	defer silent.Close()
	release := make(chan struct{})
	defer close(release)
	w.server.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	data := secretData("identity", string(w.server.ClientKey()), "known_hosts", string(w.server.KnownHosts()))
	for _, url := range []string{w.server.URL("app"), "http://" + silent.Addr().String() + "/x", "ssh://" + silent.Addr().String() + "/x"} {
		auth, err := AuthFromSecret(url, data)
		w.do(err)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = w.mirrors.Resolve(ctx, Source{URL: url, Auth: auth})
		cancel()
		wantError(t, err, context.DeadlineExceeded)
	}

	r := w.resolve(Ref{Branch: "main"}) // by SSH
	w.do(r.mirror.lock(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = r.Fetch(ctx)
	wantError(t, err, context.DeadlineExceeded, "wait for another fetch")
}
