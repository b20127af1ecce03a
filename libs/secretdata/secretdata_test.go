package secretdata_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/libs/secretdata"
)

// pair is a certificate with its key, as PEM.
func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	der, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestTLS(t *testing.T) {
	cert, key := pair(t)
	both, id, err := secretdata.TLS(map[string][]byte{"ca.crt": cert, "tls.crt": cert, "tls.key": key})
	if err != nil || both.RootCAs == nil || len(both.Certificates) != 1 {
		t.Fatalf("%+v %v", both, err)
	}
	old, oldID, err := secretdata.TLS(map[string][]byte{"caFile": cert, "certFile": cert, "keyFile": key})
	if err != nil || !old.RootCAs.Equal(both.RootCAs) || oldID != id {
		t.Errorf("old keys: %v %s %s", err, oldID, id)
	}
	alone, aloneID, err := secretdata.TLS(map[string][]byte{"ca.crt": cert})
	if err != nil || len(alone.Certificates) != 0 || aloneID == id {
		t.Errorf("authority alone: %v", err)
	}
	if _, _, err := secretdata.TLS(map[string][]byte{"token": key}); !errors.Is(err, secretdata.ErrNoTLS) {
		t.Errorf("nothing of TLS: %v", err)
	}
	for name, data := range map[string]map[string][]byte{
		"certificate without key": {"tls.crt": cert}, "key without certificate": {"tls.key": key}, "no PEM": {"ca.crt": []byte("hunter2")},
		"no pair": {"tls.crt": cert, "tls.key": []byte("hunter2")},
	} {
		if _, _, err := secretdata.TLS(data); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProxy(t *testing.T) {
	u, err := secretdata.Proxy(map[string][]byte{"address": []byte("http://proxy:3128\n"), "username": []byte("me"), "password": []byte("hunter2")})
	if err != nil || u.String() != "http://me:hunter2@proxy:3128" {
		t.Errorf("%v %v", u, err)
	}
	for _, address := range []string{"", "hunter2", "ftp://hunter2", "http://%zz:hunter2"} {
		if _, err := secretdata.Proxy(map[string][]byte{"address": []byte(address)}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
