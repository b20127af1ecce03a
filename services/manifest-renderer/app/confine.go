package app

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
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

// confined is the default transport for requests of libraries for credentials of the clouds, which have none of their own.
func confined() *http.Transport {
	return &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if !isCloud(r.URL) {
			return nil, fmt.Errorf("a render opens no connections, not to %s either", r.URL.Host)
		}
		return http.ProxyFromEnvironment(r)
	}}
}

// clouds give out credentials at these addresses, or below these domains.
var clouds = []string{
	".googleapis.com", "login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.partner.microsoftonline.cn", "sts.amazonaws.com",
}

// regionalSTS are the addresses of AWS in each region.
var regionalSTS = regexp.MustCompile(`^sts(-fips)?\.[a-z0-9-]+\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)$`)

func isCloud(u *url.URL) bool {
	if u.Scheme != "https" {
		return u.Host == "metadata.google.internal"
	}
	for _, known := range clouds {
		if u.Hostname() == known || strings.HasPrefix(known, ".") && strings.HasSuffix(u.Hostname(), known) {
			return true
		}
	}
	return regionalSTS.MatchString(u.Hostname())
}
