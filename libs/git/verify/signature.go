package verify

import (
	"bytes"
	"errors"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what git signs under with SSH keys.
const namespace = "git"

// The first lines of signatures.
const (
	beginPGP  = "-----BEGIN PGP SIGNATURE-----"
	beginSSH  = "-----BEGIN SSH SIGNATURE-----"
	beginX509 = "-----BEGIN SIGNED MESSAGE-----"
)

// check verifies a signature and returns the name of the key that made it: the
// ID of an OpenPGP key, the fingerprint of an SSH key.
func (k Keys) check(payload, signature []byte) (string, error) {
	switch text := string(signature); {
	case len(signature) == 0:
		return "", errors.New("it is not signed")
	case strings.HasPrefix(text, beginPGP):
		return k.checkPGP(payload, signature)
	case strings.HasPrefix(text, beginSSH):
		return k.checkSSH(payload, signature)
	case strings.HasPrefix(text, beginX509):
		return "", errors.New("signatures with X.509 certificates are not supported")
	}
	return "", errors.New("the kind of the signature is not known")
}

func (k Keys) checkPGP(payload, signature []byte) (string, error) {
	if len(k.rings) == 0 {
		return "", errors.New("it is signed with OpenPGP, and the Secret has no OpenPGP public keys (entries ending in " + endingPGP + ")" + k.hint())
	}
	var reason error
	for _, ring := range k.rings {
		signer, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(payload), bytes.NewReader(signature), nil)
		if err == nil {
			return signer.PrimaryKey.KeyIdString(), nil
		}
		if reason == nil || !isUnknown(err) {
			reason = err
		}
	}
	if isUnknown(reason) {
		return "", errors.New("no key of the Secret made the signature" + k.hint())
	}
	return "", reason
}

func (k Keys) checkSSH(payload, signature []byte) (string, error) {
	if len(k.ssh) == 0 {
		return "", errors.New("it is signed with an SSH key, and the Secret has no SSH public keys (entries ending in " + endingSSH + ")" + k.hint())
	}
	parsed, err := sshsig.Unarmor(signature)
	if err != nil {
		return "", errors.New("the signature is malformed")
	}
	for _, key := range k.ssh {
		if !bytes.Equal(key.Marshal(), parsed.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(payload), parsed, key, parsed.HashAlgorithm, namespace); err != nil {
			return "", err
		}
		return ssh.FingerprintSHA256(key), nil
	}
	return "", errors.New("no key of the Secret made the signature, but " + ssh.FingerprintSHA256(parsed.PublicKey) + k.hint())
}
