package sign

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	keySSH        = "identity"
	passphraseSSH = "password"
	// namespace is what git signs under with SSH keys.
	namespace  = "git"
	minRSABits = 2048
)

// algorithms are those of keys that Flux takes.
var algorithms = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA}

func newSSH(data map[string][]byte) (*Key, error) {
	signer, err := parseSSH(data[keySSH], data[passphraseSSH])
	if err != nil {
		return nil, err
	}
	if err := checkSSH(signer.PublicKey()); err != nil {
		return nil, err
	}
	return &Key{func(payload []byte) ([]byte, error) {
		signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, namespace)
		if err != nil {
			return nil, fmt.Errorf("with the SSH key in '%s': %w", keySSH, err)
		}
		return sshsig.Armor(signature), nil
	}}, nil
}

func parseSSH(key, passphrase []byte) (ssh.Signer, error) {
	if len(key) == 0 {
		return nil, fmt.Errorf("%w: '%s' is missing", ErrKey, keySSH)
	}
	signer, err := ssh.ParsePrivateKey(key)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		if len(passphrase) == 0 {
			return nil, fmt.Errorf("%w: the key in '%s' is encrypted and there is no '%s'", ErrKey, keySSH, passphraseSSH)
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(key, passphrase); err != nil {
			return nil, fmt.Errorf("%w: '%s' does not open the key in '%s'", ErrKey, passphraseSSH, keySSH)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: '%s' holds no SSH private key", ErrKey, keySSH)
	}
	return signer, nil
}

func checkSSH(key ssh.PublicKey) error {
	if !slices.Contains(algorithms, key.Type()) {
		return fmt.Errorf("%w: an SSH key of type %s cannot sign commits", ErrKey, key.Type())
	}
	if public, ok := key.(ssh.CryptoPublicKey); ok {
		if small, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok && small.N.BitLen() < minRSABits {
			return fmt.Errorf("%w: the RSA key in '%s' has %d bits, want %d or more", ErrKey, keySSH, small.N.BitLen(), minRSABits)
		}
	}
	return nil
}
