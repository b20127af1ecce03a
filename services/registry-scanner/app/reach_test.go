package app

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/libs/registry/registrytest"
)

// tunnel is a proxy that asks for a login and counts the connections that it makes.
type tunnel struct {
	*httptest.Server
	login string
	made  atomic.Int64
}

func startTunnel(t *testing.T, user, password string) *tunnel {
	p := &tunnel{login: user + ":" + password}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := asked.BasicAuth()
	switch {
	case r.Method != http.MethodConnect:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case user+":"+password != p.login:
		w.WriteHeader(http.StatusProxyAuthRequired)
	default:
		p.connect(w, r.Host)
	}
}

func (p *tunnel) connect(w http.ResponseWriter, host string) {
	there, err := net.Dial("tcp", host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	p.made.Add(1)
	here, buffered, err := http.NewResponseController(w).Hijack() // before the answer, after which the client sends what the server may read
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(there, buffered) }()
	_, _ = io.Copy(here, there)
}

// TestCertificateAndProxy reaches a registry with a certificate of nobody's authority, with and without a proxy between.
func TestCertificateAndProxy(t *testing.T) {
	w := newWorld(t, registrytest.Options{TLS: true}, nil)
	w.registry.SetTags("org/app", "1.0.0", "1.1.0")
	proxy := startTunnel(t, "user", "hunter2")
	w.secret("authority", map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.registry.Certificate().Raw}))})
	w.secret("nonsense", map[string]string{"ca.crt": "nonsense"})
	w.secret("proxy", map[string]string{"address": proxy.URL, "username": "user", "password": "hunter2"})
	w.secret("stranger", map[string]string{"address": proxy.URL, "username": "user", "password": "hunter3"})
	w.secret("dead", map[string]string{"address": "http://127.0.0.1:1"})
	w.secret("ftp", map[string]string{"address": "ftp://127.0.0.1"})
	through := func(certificate, proxy string) func(*imagev1.ImageRepositorySpec) {
		return func(s *imagev1.ImageRepositorySpec) {
			if certificate != "" {
				s.CertSecretRef = &meta.LocalObjectReference{Name: certificate}
			}
			if proxy != "" {
				s.ProxySecretRef = &meta.LocalObjectReference{Name: proxy}
			}
		}
	}
	for name, test := range map[string]struct{ certificate, proxy, reason string }{
		"unknown-authority": {"", "", imagev1.ReadOperationFailedReason},
		"no-certificate":    {"nonsense", "", imagev1.AuthenticationFailedReason},
		"stranger":          {"authority", "stranger", imagev1.ReadOperationFailedReason},
		"dead":              {"authority", "dead", imagev1.ReadOperationFailedReason},
		"ftp":               {"authority", "ftp", imagev1.AuthenticationFailedReason},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.T = t
			w.create(name, through(test.certificate, test.proxy))
			if text := fmt.Sprint(w.fails(name, test.reason).Status); strings.Contains(text, "hunter") {
				t.Errorf("the status tells a secret: %s", text)
			}
		})
	}
	if n := w.registry.Count("GET "); n != 0 {
		t.Errorf("%d requests came where none may", n)
	}
	w.create("direct", through("authority", ""))
	w.ready("direct", 2)
	if n := proxy.made.Load(); n != 0 {
		t.Errorf("%d connections through a proxy that was not named", n)
	}
	w.create("proxied", through("authority", "proxy"))
	w.ready("proxied", 2)
	if n := proxy.made.Load(); n != 1 {
		t.Errorf("%d connections through the proxy, want 1", n)
	}
}
