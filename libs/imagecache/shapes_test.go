package imagecache_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/libs/imagecache/imagecachetest"
)

// sentinel starts a sentinel that ends with the test.
func sentinel(t *testing.T, port int, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	imagecachetest.Must(t, os.WriteFile(file, fmt.Appendf(nil, "bind 127.0.0.1\nport %d\ndir %s\n%s", port, filepath.Dir(file), config), 0o600))
	command := exec.Command("redis-server", file, "--sentinel")
	imagecachetest.Must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	imagecachetest.WaitTCP(t, fmt.Sprintf("127.0.0.1:%d", port))
}

func TestCluster(t *testing.T) {
	s := imagecachetest.Start(t, "--cluster-enabled", "yes")
	r := s.Raw()
	imagecachetest.Must(t, r.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r.Set(t.Context(), "probe", "1", 0).Err() == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the cluster is not ready")
		}
	}
	o := s.Options()
	o.Cluster = true
	works(t, o)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	port := imagecachetest.FreePort(t)
	s := imagecachetest.Start(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "yes")
	imagecachetest.WaitTCP(t, fmt.Sprintf("127.0.0.1:%d", port))
	o := s.Options()
	o.Addrs, o.CAFile, o.CertFile, o.KeyFile = []string{fmt.Sprintf("127.0.0.1:%d", port)}, cert, cert, key
	works(t, o)
	o.CAFile, o.TLS = "", true
	if err := imagecachetest.Connect(t, o).Ping(t.Context()); err == nil {
		t.Error("an unknown authority is taken")
	}
}

func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	imagecachetest.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	imagecachetest.Must(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	imagecachetest.Must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	imagecachetest.Must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), 0o600))
	return cert, key
}
