package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife is how long the certificates of one start are good. They begin an
// hour before it, for a clock that is set back a little.
const certLife = 365 * 24 * time.Hour

const (
	caFile        = "ca.crt"
	certFile      = "apiserver.crt"
	certKeyFile   = "apiserver.key"
	accountFile   = "service-account.key"
	accountPublic = "service-account.pub"
)

// writeCerts makes a new authority and a serving certificate of it. The
// authority's key is not kept: nothing else is to be signed by it. The key for
// service account tokens stays the same over starts on one folder.
func writeCerts(dir string) error {
	authority, key, err := newAuthority()
	if err != nil {
		return fmt.Errorf("make a certificate authority: %w", err)
	}
	if err := writePEM(filepath.Join(dir, caFile), "CERTIFICATE", authority.Raw); err != nil {
		return err
	}
	if err := writeServingCert(dir, authority, key); err != nil {
		return fmt.Errorf("make the serving certificate: %w", err)
	}
	if isFile(filepath.Join(dir, accountFile)) {
		return nil
	}
	return writeAccountKeys(dir)
}

func newAuthority() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := certTemplate("sluice test control plane")
	if err != nil {
		return nil, nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	authority, err := x509.ParseCertificate(raw)
	return authority, key, err
}

func writeServingCert(dir string, authority *x509.Certificate, authorityKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := certTemplate("kube-apiserver")
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, certFile), "CERTIFICATE", raw); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, certKeyFile), key)
}

func writeAccountKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	if err := writePEM(filepath.Join(dir, accountPublic), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, accountFile), key)
}

func certTemplate(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certLife),
	}, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	return writePEM(path, "EC PRIVATE KEY", raw)
}

// writePEM writes for the owner alone: most of these files are keys.
func writePEM(path, kind string, raw []byte) error {
	content := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write a certificate or key: %w", err)
	}
	return nil
}
