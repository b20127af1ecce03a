package git

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// Auth holds credentials, and what tells the right server from a wrong one. It
// prints as nothing at all, so that it cannot get into a log.
type Auth struct {
	Username, Password string
	BearerToken        string
	// CA is a PEM bundle trusted besides the system's authorities.
	CA []byte
	// ClientCert and ClientKey are a PEM pair for mutual TLS.
	ClientCert, ClientKey []byte
	// Identity is an SSH private key, Password its passphrase.
	Identity []byte
	// KnownHosts holds lines of a known_hosts file. It may be empty for the
	// large git hosts, whose keys are built in.
	KnownHosts []byte
	// Proxy is the URL of an HTTP(S) or SOCKS5 proxy, from
	// spec.proxySecretRef; by default the environment decides (HTTP only).
	Proxy string
}

// String hides everything.
func (Auth) String() string { return "git credentials" }

// GoString hides everything.
func (Auth) GoString() string { return "git credentials" }

// AuthFromSecret reads the data of the Secret that spec.secretRef names, with the
// keys that the GitRepository specification gives. It may be empty for a public
// repository over HTTP. Errors are ErrAuthentication or ErrURLInvalid and name
// keys, never values.
func AuthFromSecret(address string, data map[string][]byte) (Auth, error) {
	u, err := parseURL(address)
	if err != nil {
		return Auth{}, err
	}
	var a Auth
	if u.Scheme == "ssh" {
		a = Auth{Identity: data["identity"], KnownHosts: data["known_hosts"], Password: string(data["password"])}
	} else {
		a = httpAuth(data)
	}
	return a, a.check(u)
}

func httpAuth(data map[string][]byte) Auth {
	a := Auth{CA: data["ca.crt"], ClientCert: data["tls.crt"], ClientKey: data["tls.key"]}
	if len(a.CA) == 0 {
		a.CA = data["caFile"]
	}
	if token, ok := data["bearerToken"]; ok {
		a.BearerToken = strings.TrimSpace(string(token))
		return a
	}
	a.Username, a.Password = string(data["username"]), string(data["password"])
	return a
}

// check says what is missing for an address.
func (a Auth) check(u *url.URL) error {
	missing := ""
	switch ssh := u.Scheme == "ssh"; {
	case ssh && len(a.Identity) == 0:
		missing = "'identity' is required"
	case ssh && len(a.KnownHosts) == 0 && !wire.HasHostKeys(u):
		missing = "'known_hosts' is required"
	case !ssh && a.Username == "" && a.Password != "":
		missing = "'password' requires 'username' to be set"
	case !ssh && (len(a.ClientCert) == 0) != (len(a.ClientKey) == 0):
		missing = "'tls.crt' and 'tls.key' require each other"
	default:
		return nil
	}
	return fmt.Errorf("%w: invalid '%s' auth option: %s", ErrAuthentication, u.Scheme, missing)
}

// signer is the SSH key.
func (a Auth) signer() (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(a.Identity)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		if a.Password == "" {
			return nil, fmt.Errorf("%w: the key in 'identity' is encrypted and there is no 'password'", ErrAuthentication)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(a.Identity, []byte(a.Password))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: 'identity' does not hold a usable private key, or 'password' does not open it", ErrAuthentication)
	}
	return signer, nil
}

// confined is true where a request carries anything that a stranger must not see.
func (a Auth) confined() bool {
	return a.Username != "" || a.Password != "" || a.BearerToken != "" || len(a.ClientKey) > 0
}

// identity names the credential without telling it.
func (a Auth) identity() string {
	h := sha256.New()
	for _, field := range []string{
		a.Username, a.Password, a.BearerToken, string(a.CA), string(a.ClientCert),
		string(a.ClientKey), string(a.Identity), string(a.KnownHosts), a.Proxy,
	} {
		fmt.Fprintf(h, "%d:%s", len(field), field)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// mirrorKey names the directory of a source's mirror.
func (s Source) mirrorKey() string {
	sum := sha256.Sum256([]byte(s.URL + "\n" + cmp.Or(prefixed("id:", s.CredentialID), s.Auth.identity())))
	return hex.EncodeToString(sum[:16])
}
