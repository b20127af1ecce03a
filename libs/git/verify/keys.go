package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// The endings of a Secret's keys. Entries with neither are read as OpenPGP, as
// it was before there were endings.
const (
	endingPGP = ".asc"
	endingSSH = ".sshpub"
)

// Keys are the public keys of people whose signatures count.
type Keys struct {
	rings []openpgp.EntityList
	ssh   []ssh.PublicKey
	// unusable names entries of the Secret that hold no key.
	unusable []string
	digest   string
}

// NewKeys reads the data of the Secret that spec.verify.secretRef names: armored
// OpenPGP keys under *.asc, and SSH keys, one a line as in authorized_keys or
// allowed_signers, under *.sshpub. An entry that cannot be read counts for
// nothing, and is named when no other key fits.
func NewKeys(data map[string][]byte) Keys {
	k := Keys{}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q %q\n", name, data[name])
		if err := k.add(name, data[name]); err != nil {
			k.unusable = append(k.unusable, fmt.Sprintf("'%s' (%v)", name, err))
		}
	}
	k.digest = hex.EncodeToString(h.Sum(nil)[:8])
	return k
}

// Digest changes whenever the keys do.
func (k Keys) Digest() string { return k.digest }

func (k *Keys) add(name string, content []byte) error {
	if strings.HasSuffix(name, endingSSH) {
		keys, err := parseSSH(content)
		k.ssh = append(k.ssh, keys...)
		return err
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(content))
	if err != nil {
		return errors.New("no armored OpenPGP keys")
	}
	k.rings = append(k.rings, ring)
	return nil
}

// parseSSH reads all lines or fails: half a list of signers is no list.
func parseSSH(content []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for number, line := range bytes.Split(content, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no SSH public key", number+1)
		}
		if slices.ContainsFunc(options, restricts) {
			return nil, fmt.Errorf("line %d: options of signers are not supported", number+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// restricts tells an option, which would have to be obeyed, from the principals
// of an allowed_signers file.
func restricts(option string) bool {
	return strings.Contains(option, "=") || strings.EqualFold(option, "cert-authority")
}

// hint names unusable entries.
func (k Keys) hint() string {
	if len(k.unusable) == 0 {
		return ""
	}
	return "; not usable in the Secret: " + strings.Join(k.unusable, ", ")
}
