package harness

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// APIFront stands between the services and the API server. Its Proxy fails as networks do; the front itself as an API server does
// that still answers.
type APIFront struct {
	Proxy      *Proxy
	Kubeconfig string // of an administrator, by way of the front

	mu    sync.Mutex
	fault http.HandlerFunc
}

// StartAPIFront starts a front that ends with the test and writes its kubeconfig file into dir.
func (w *World) StartAPIFront(t testing.TB, dir string) *APIFront {
	t.Helper()
	f := &APIFront{Kubeconfig: filepath.Join(dir, "front.kubeconfig")}
	config := w.Plane.RESTConfig()
	server := httptest.NewUnstartedServer(f.handler(t, config))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	f.Proxy = StartProxy(t, server.Listener.Addr().String())
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := writeKubeconfig(f.Kubeconfig, "https://"+f.Proxy.Addr(), config.BearerToken, authority); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *APIFront) handler(t testing.TB, config *rest.Config) http.Handler {
	t.Helper()
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true},
		FlushInterval: -1,
		// The server is away: that is no answer of its own.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The whole request first: an API server may answer before it has read one, and a proxy that still waits for the rest never ends that answer.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.mu.Lock()
		fault := f.fault
		f.mu.Unlock()
		if fault == nil {
			pass.ServeHTTP(w, r)
			return
		}
		spoiled := &answered{ResponseWriter: w}
		if fault(spoiled, r); !spoiled.done {
			pass.ServeHTTP(w, r)
		}
	})
}

// answered notes whether a fault has answered.
type answered struct {
	http.ResponseWriter
	done bool
}

func (a *answered) WriteHeader(status int) {
	a.done = true
	a.ResponseWriter.WriteHeader(status)
}

// SetFault lets f see each request first; what f does not answer goes on to the API server. Nil mends it.
func (f *APIFront) SetFault(fault http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func writeKubeconfig(path, server, token string, authority []byte) error {
	config := api.NewConfig()
	config.Clusters["front"] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos["admin"] = &api.AuthInfo{Token: token}
	config.Contexts["front"] = &api.Context{Cluster: "front", AuthInfo: "admin"}
	config.CurrentContext = "front"
	return clientcmd.WriteToFile(*config, path)
}
