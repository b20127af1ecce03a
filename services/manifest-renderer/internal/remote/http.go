package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/guard"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// maxFile is the most bytes of a file.
const maxFile = 4 << 20

// errNoFile says that the server answered, but not with a file of manifests.
var errNoFile = errors.New("there is no file")

func newClient(g guard.Guard) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: g.Control}
	return &http.Client{
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if err := checkRedirect(to, via); err != nil {
				return err
			}
			return g.CheckURL(to.URL)
		},
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConns: 16, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

var errRedirect = errors.New("the server redirects to where Sluice does not follow")

// checkRedirect follows a few redirects, never from https to http.
func checkRedirect(to *http.Request, via []*http.Request) error {
	plain := to.URL.Scheme != "https" && (to.URL.Scheme != "http" || via[0].URL.Scheme == "https")
	if plain || len(via) > 5 || to.URL.User != nil {
		return errRedirect
	}
	to.Header.Del("Referer") // the address may hold what others should not see
	return nil
}

// download gets a file.
func (f *Fetcher) download(ctx context.Context, u *url.URL) (render.Remote, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := f.guard.CheckURL(u); err != nil {
		return render.Remote{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return render.Remote{}, errMalformed
	}
	request.Header.Set("User-Agent", "sluice")
	response, err := f.client.Do(request)
	if err != nil {
		return render.Remote{}, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return render.Remote{}, fmt.Errorf("%w: the server answered %d %s", errNoFile, response.StatusCode, http.StatusText(response.StatusCode))
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxFile+1))
	if err != nil {
		return render.Remote{}, fmt.Errorf("read the answer: %w", withoutURL(err))
	}
	if len(data) > maxFile {
		return render.Remote{}, fmt.Errorf("the file has more than %d bytes", maxFile)
	}
	if isPage(response.Header.Get("Content-Type"), data) {
		return render.Remote{}, fmt.Errorf("%w: the server answered with a web page", errNoFile)
	}
	return asTree(fileName(u), data)
}

// withoutURL takes the address out of an error: callers name it, without what can be secret in it.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

func isPage(contentType string, data []byte) bool {
	return strings.HasPrefix(contentType, "text/html") || bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n\ufeff"), []byte("<"))
}

// fileName is the last part of the path: entries of generators are named by it.
func fileName(u *url.URL) string {
	name := path.Base(path.Clean("/" + u.Path))
	if _, err := tree.New(map[string][]byte{name: nil}); err != nil || name == "/" {
		return "file"
	}
	return name
}

func asTree(name string, data []byte) (render.Remote, error) {
	t, err := tree.New(map[string][]byte{name: data})
	if err != nil || t.Len() == 0 {
		return render.Remote{}, errMalformed
	}
	return render.Remote{Tree: t, Path: name, ID: fmt.Sprintf("sha256:%x", sha256.Sum256(data))}, nil
}
