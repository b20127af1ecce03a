package sign

import (
	"errors"
	"fmt"
)

// The types of keys.
const (
	GPG = "gpg"
	SSH = "ssh"
)

// ErrKey says that a Secret holds no key to sign with. Errors name the Secret's
// entries, never what is in them.
var ErrKey = errors.New("invalid signing key")

// Key signs commits. It prints as nothing at all, so that it cannot get into a
// log. It is for concurrent use.
type Key struct {
	sign func(payload []byte) ([]byte, error)
}

// String hides everything.
func (*Key) String() string { return "signing key" }

// GoString hides everything.
func (*Key) GoString() string { return "signing key" }

// New reads the data of a Secret. Keys of type gpg, the default, are under
// git.asc with a passphrase under passphrase; those of type ssh under identity with a
// passphrase under password.
func New(kind string, data map[string][]byte) (*Key, error) {
	switch kind {
	case GPG, "":
		return newPGP(data)
	case SSH:
		return newSSH(data)
	}
	return nil, fmt.Errorf("%w: type %q is not known", ErrKey, kind)
}

// Sign returns the armored signature of a commit without one.
func (k *Key) Sign(payload []byte) ([]byte, error) {
	signature, err := k.sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign the commit: %w", err)
	}
	return signature, nil
}
