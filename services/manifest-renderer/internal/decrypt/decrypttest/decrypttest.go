// Package decrypttest encrypts for tests what package decrypt opens.
package decrypttest

import (
	"bytes"
	"io"
	"testing"
	"time"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/pgp"
)

// dataKey is the same in all tests.
var dataKey = []byte("0123456789abcdef0123456789abcdef")

// Key is a pair of keys.
type Key struct {
	Entry   string // its name in a Secret
	Private []byte
	Master  keys.MasterKey // with the data key in it
}

// Age makes an age identity.
func Age(t testing.TB) Key {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	check(t, err)
	var out bytes.Buffer
	armored := agearmor.NewWriter(&out)
	w, err := age.Encrypt(armored, identity.Recipient())
	check(t, err)
	write(t, w, armored)
	return Key{"team.agekey", []byte("# made for a test\n" + identity.String() + "\n"),
		&sopsage.MasterKey{Recipient: identity.Recipient().String(), EncryptedKey: out.String()}}
}

// PGP makes an OpenPGP key.
func PGP(t testing.TB) Key {
	t.Helper()
	entity, err := openpgp.NewEntity("Test", "", "test@example.com", nil)
	check(t, err)
	var private, out bytes.Buffer
	armoredKey, err := pgparmor.Encode(&private, openpgp.PrivateKeyType, nil)
	check(t, err)
	check(t, entity.SerializePrivate(armoredKey, nil))
	check(t, armoredKey.Close())
	armored, err := pgparmor.Encode(&out, "PGP MESSAGE", nil)
	check(t, err)
	w, err := openpgp.Encrypt(armored, []*openpgp.Entity{entity}, nil, nil, nil)
	check(t, err)
	write(t, w, armored)
	return Key{"team.asc", private.Bytes(), &pgp.MasterKey{Fingerprint: "TEST", EncryptedKey: out.String()}}
}

func write(t testing.TB, outer ...io.WriteCloser) {
	t.Helper()
	_, err := outer[0].Write(dataKey)
	check(t, err)
	for _, w := range outer {
		check(t, w.Close())
	}
}

// Encrypt encrypts a file for any of the keys, of the format that its name has. The values whose key matches the regular expression
// are encrypted, all when it is empty.
func Encrypt(t testing.TB, name, plain, regex string, masters ...keys.MasterKey) string {
	t.Helper()
	store := common.StoreForFormat(formats.FormatForPath(name), config.NewStoresConfig())
	branches, err := store.LoadPlainFile([]byte(plain))
	check(t, err)
	file := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: []sops.KeyGroup{masters}, EncryptedRegex: regex, Version: "3.13.3", LastModified: time.Unix(1700000000, 0).UTC(),
	}}
	mac, err := file.Encrypt(dataKey, aes.NewCipher())
	check(t, err)
	file.Metadata.MessageAuthenticationCode, err = aes.NewCipher().Encrypt(mac, dataKey, file.Metadata.LastModified.Format(time.RFC3339))
	check(t, err)
	out, err := store.EmitEncryptedFile(file)
	check(t, err)
	return string(out)
}

// DataKey is the data key of all files that Encrypt makes.
func DataKey() []byte { return bytes.Clone(dataKey) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
