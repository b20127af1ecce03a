// Package verify says whether a call comes from who has the key. Every comparison takes the same time, whatever is compared.
package verify

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strings"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
)

// ErrForged says that a call does not prove to come from who has the key.
var ErrForged = errors.New("not verified")

// Keys are those of one caller. While a key is changed, both the new and the one before are good.
type Keys struct {
	Token, Previous []byte
	// Email and Audience are what a token of Google must be of and for.
	Email, Audience string
}

// each returns the keys that there are.
func (k Keys) each() [][]byte {
	var keys [][]byte
	for _, key := range [][]byte{k.Token, k.Previous} {
		if len(key) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// How says what proves a call of a type.
type How int

const (
	// ByPath means that who knows the path may call: the host signs nothing.
	ByPath How = iota
	// ByKey means a signature with the key, or the key itself in a header.
	ByKey
	// ByIssuer means a token that somebody else signed.
	ByIssuer
)

// Proof says what proves a call of a type.
func Proof(kind string) How {
	switch kind {
	case receiverv1.GenericReceiver, receiverv1.DockerHubReceiver, receiverv1.QuayReceiver, receiverv1.ACRReceiver, receiverv1.CDEventsReceiver:
		return ByPath
	case receiverv1.GCRReceiver, receiverv1.GenericOIDCReceiver:
		return ByIssuer
	}
	return ByKey
}

// Signed says whether a type's proof covers the body.
func Signed(kind string) bool {
	return Proof(kind) == ByKey && kind != receiverv1.GitLabReceiver && kind != receiverv1.HarborReceiver
}

// Key verifies a call whose proof is by key. An error is ErrForged.
func Key(kind string, h http.Header, body []byte, keys Keys) error {
	verified := false
	for _, key := range keys.each() {
		verified = verifyKey(kind, h, body, key) || verified
	}
	if !verified {
		return ErrForged
	}
	return nil
}

func verifyKey(kind string, h http.Header, body, key []byte) bool {
	switch kind {
	case receiverv1.GitLabReceiver:
		return same([]byte(h.Get("X-Gitlab-Token")), key)
	case receiverv1.HarborReceiver:
		return same([]byte(h.Get("Authorization")), key)
	case receiverv1.GenericHMACReceiver:
		return signed(h.Get("X-Signature"), body, key)
	case receiverv1.NexusReceiver:
		return signedWith(sha1.New, h.Get("X-Nexus-Webhook-Signature"), body, key)
	case receiverv1.BitbucketReceiver:
		return signed(h.Get("X-Hub-Signature"), body, key)
	}
	return verifyGitHub(h, body, key)
}

// verifyGitHub looks at the best signature that is there: a worse one beside it proves nothing.
func verifyGitHub(h http.Header, body, key []byte) bool {
	if s := h.Get("X-Hub-Signature-256"); s != "" {
		return signed(s, body, key)
	}
	for _, name := range []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} {
		if s := h.Get(name); s != "" {
			return signedWith(sha256.New, s, body, key)
		}
	}
	return signed(h.Get("X-Hub-Signature"), body, key)
}

// same compares without telling how much is the same; not even lengths.
func same(got, want []byte) bool {
	a, b := sha256.Sum256(got), sha256.Sum256(want)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// signed verifies a signature of the form <hash>=<hexadecimal>.
func signed(signature string, body, key []byte) bool {
	name, sum, _ := strings.Cut(signature, "=")
	hashes := map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}
	h := hashes[name]
	return h != nil && signedWith(h, sum, body, key)
}

func signedWith(h func() hash.Hash, sum string, body, key []byte) bool {
	got, err := hex.DecodeString(sum)
	if err != nil {
		return false
	}
	mac := hmac.New(h, key)
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}
