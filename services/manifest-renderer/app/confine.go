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
// connects to nobody. It is Quiet, too. Call restore at the end.
func Confine(logger *slog.Logger) (restore func(), err error) {
	loud, err := Quiet(logger)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport
	http.DefaultTransport = confined()
	return func() { http.DefaultTransport = transport; loud() }, nil
}

// Quiet leaves out what libraries write to standard error, as it can quote sources; the lines of Kubernetes' libraries go into the log. It
// is for any process that renders, and comes after its loggers are made. Call restore at the end.
func Quiet(logger *slog.Logger) (restore func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("keep standard error quiet: %w", err)
	}
	klog.SetLogger(logr.FromSlogHandler(logger.Handler()))
	log.SetOutput(io.Discard)
	decrypt.Quiet()
	stderr := os.Stderr
	os.Stderr = null
	return func() {
		os.Stderr = stderr
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
