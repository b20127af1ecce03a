package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluice-cd/sluice/libs/bus"
	"github.com/sluice-cd/sluice/libs/bus/bustest"
)

// TestAuthenticationOverTLS connects to a server that wants TLS and knows one NKey user and one with a password.
func TestAuthenticationOverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, caFile := selfSigned(t, dir)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "js"), NoSigs: true, NoLog: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSTimeout: 5,
		Nkeys: []*server.NkeyUser{{Nkey: public}}, Users: []*server.User{{Username: "cd", Password: "s3cret"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("server is not ready")
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url := "tls://" + s.Addr().String()
	for name, c := range map[string]struct {
		options bus.Options
		works   bool
	}{
		"nkey":           {bus.Options{URL: url, CAFile: caFile, NKeySeedFile: file("seed", string(seed))}, true},
		"password":       {bus.Options{URL: url, CAFile: caFile, User: "cd", PasswordFile: file("password", "s3cret\n")}, true},
		"wrong password": {bus.Options{URL: url, CAFile: caFile, User: "cd", PasswordFile: file("wrong", "other")}, false},
		"nobody":         {bus.Options{URL: url, CAFile: caFile}, false},
		"unknown CA":     {bus.Options{URL: url, User: "cd", PasswordFile: file("password2", "s3cret")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if !c.works {
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			}
			c.options.Log = bustest.Logger(t)
			conn, err := bus.Connect(ctx, c.options)
			if err == nil {
				defer conn.Close()
			}
			if (err == nil) != c.works {
				t.Fatalf("Connect = %v; want success: %v", err, c.works)
			}
		})
	}
}

func selfSigned(t *testing.T, dir string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bus"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}
