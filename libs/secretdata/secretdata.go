// Package secretdata understands what Secrets hold for connections: certificates and proxies, under the keys that Flux has for them.
// Errors name keys, never values.
package secretdata

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrNoTLS says that there is nothing about TLS in a Secret.
var ErrNoTLS = errors.New("it has none of ca.crt, tls.crt and tls.key")

// TLS reads authorities (ca.crt) and client certificate (tls.crt, tls.key), also under the old keys; and names what it read, for caches.
func TLS(data map[string][]byte) (*tls.Config, string, error) {
	ca, cert, key := either(data, "ca.crt", "caFile"), either(data, "tls.crt", "certFile"), either(data, "tls.key", "keyFile")
	if len(ca) == 0 && len(cert) == 0 && len(key) == 0 {
		return nil, "", ErrNoTLS
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, "", errors.New("'ca.crt' holds no certificate")
		}
	}
	if (len(cert) == 0) != (len(key) == 0) {
		return nil, "", errors.New("'tls.crt' and 'tls.key' go together")
	}
	if len(cert) > 0 {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, "", errors.New("'tls.crt' and 'tls.key' are no pair of certificate and key")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	sum := sha256.New()
	for _, part := range [][]byte{ca, cert, key} {
		fmt.Fprintf(sum, "%d:", len(part))
		sum.Write(part)
	}
	return config, hex.EncodeToString(sum.Sum(nil)), nil
}

func either(data map[string][]byte, key, old string) []byte {
	if len(data[key]) > 0 {
		return data[key]
	}
	return data[old]
}

// Proxy reads the address of a proxy (address) with its login (username, password).
func Proxy(data map[string][]byte) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(string(data["address"])))
	switch {
	case len(data["address"]) == 0:
		return nil, errors.New("'address' is missing")
	case err != nil || u.Host == "":
		return nil, errors.New("'address' is no URL")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return nil, errors.New("'address' must begin with http, https or socks5")
	}
	if user, password := string(data["username"]), string(data["password"]); user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u, nil
}
