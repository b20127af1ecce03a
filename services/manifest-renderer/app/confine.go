package app

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
)

// Confine takes from this process what a render must not have, and is for a program that is nothing but manifest-renderer. What looks like
// an address in a source is refused before kustomize sees it; should one slip through, the transport that kustomize would fetch with
// connects to nobody. What libraries write to standard error is left out, as it can quote sources; the lines of Kubernetes' libraries go
// into the log. Call restore at the end.
func Confine(logger *slog.Logger) (restore func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("confine the process: %w", err)
	}
	klog.SetLogger(logr.FromSlogHandler(logger.Handler()))
	log.SetOutput(io.Discard)
	decrypt.Quiet()
	stderr, transport := os.Stderr, http.DefaultTransport
	os.Stderr, http.DefaultTransport = null, confined()
	return func() {
		os.Stderr, http.DefaultTransport = stderr, transport
		log.SetOutput(stderr)
		_ = null.Close()
	}, nil
}

// confined is the default transport for requests of Google's library for credentials, which has none of its own.
func confined() *http.Transport {
	return &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if !isGoogle(r.URL) {
			return nil, fmt.Errorf("a render opens no connections, not to %s either", r.URL.Host)
		}
		return http.ProxyFromEnvironment(r)
	}}
}

func isGoogle(u *url.URL) bool {
	return u.Scheme == "https" && strings.HasSuffix(u.Hostname(), ".googleapis.com") || u.Host == "metadata.google.internal"
}
