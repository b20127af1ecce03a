package registry

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/url"
	"strings"
)

// Access is how an image is reached: who asks, and by which way.
type Access struct {
	// Credential may be nil for none.
	Credential Credential
	// TLS has authorities and client certificates; nil for those of the system.
	TLS *tls.Config
	// TLSID names what TLS holds: connections are shared among equal ones. Empty with TLS nil.
	TLSID string
	// Proxy may be nil for that of the environment.
	Proxy *url.URL
	// Insecure allows plain HTTP where the registry speaks no TLS.
	Insecure bool
}

// Credential opens images. Its ID is equal for equal credentials and tells nothing of them; tokens are kept by it.
type Credential interface {
	ID() string
	Login(ctx context.Context) (Login, error)
}

// Login is what a registry takes for a credential: a password, a token for its token service, or one for itself.
type Login struct {
	Username, Password string
	IdentityToken      string // exchanged at the token service
	RegistryToken      string // a bearer token
}

// String hides everything.
func (Login) String() string { return "login" }

// GoString hides everything.
func (Login) GoString() string { return "login" }

func (l Login) empty() bool { return l == Login{} }

// credentialID is empty for none.
func (a Access) credentialID() string {
	if a.Credential == nil {
		return ""
	}
	return a.Credential.ID()
}

func (a Access) login(ctx context.Context) (Login, error) {
	if a.Credential == nil {
		return Login{}, nil
	}
	return a.Credential.Login(ctx)
}

// ID is equal for equal ways to reach an image, and tells nothing of them; empty for the way that anybody has.
func (a Access) ID() string {
	parts := []string{a.credentialID(), a.TLSID, "", ""}
	if a.Proxy != nil {
		parts[2] = a.Proxy.String()
	}
	if a.Insecure {
		parts[3] = "insecure"
	}
	text := strings.Join(parts, "\x00")
	if text == "\x00\x00\x00" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
