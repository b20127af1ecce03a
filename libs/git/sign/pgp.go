package sign

import (
	"bytes"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

const (
	keyPGP        = "git.asc"
	passphrasePGP = "passphrase"
)

func newPGP(data map[string][]byte) (*Key, error) {
	if len(data[keyPGP]) == 0 {
		return nil, fmt.Errorf("%w: '%s' is missing", ErrKey, keyPGP)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(data[keyPGP]))
	if err != nil {
		return nil, fmt.Errorf("%w: '%s' holds no armored OpenPGP key", ErrKey, keyPGP)
	}
	if len(ring) != 1 {
		return nil, fmt.Errorf("%w: '%s' holds %d OpenPGP keys, want one", ErrKey, keyPGP, len(ring))
	}
	entity := ring[0]
	if err := unlock(entity, data[passphrasePGP]); err != nil {
		return nil, err
	}
	return &Key{func(payload []byte) ([]byte, error) {
		var signature bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&signature, entity, bytes.NewReader(payload), nil); err != nil {
			return nil, fmt.Errorf("with the OpenPGP key in '%s': %w", keyPGP, err)
		}
		return signature.Bytes(), nil
	}}, nil
}

// unlock makes the part of a key ready that is to sign.
func unlock(entity *openpgp.Entity, passphrase []byte) error {
	signing, ok := entity.SigningKey(time.Now())
	if !ok || signing.PrivateKey == nil || signing.PrivateKey.Dummy() {
		return fmt.Errorf("%w: '%s' holds no private key that can sign today", ErrKey, keyPGP)
	}
	if !signing.PrivateKey.Encrypted {
		return nil
	}
	if len(passphrase) == 0 {
		return fmt.Errorf("%w: the key in '%s' is encrypted and there is no '%s'", ErrKey, keyPGP, passphrasePGP)
	}
	if err := signing.PrivateKey.Decrypt(passphrase); err != nil {
		return fmt.Errorf("%w: '%s' does not open the key in '%s'", ErrKey, passphrasePGP, keyPGP)
	}
	return nil
}
