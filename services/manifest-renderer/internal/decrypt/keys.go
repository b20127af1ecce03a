package decrypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/aws/aws-sdk-go-v2/aws"
)

// Keys are what a Secret for decryption holds. The zero Keys open only what the
// identity of the process itself opens at a cloud's key management service.
type Keys struct {
	age        []age.Identity
	pgp        openpgp.EntityList
	vaultToken string
	aws        aws.CredentialsProvider
	azure      azcore.TokenCredential
	gcp        []byte    // JSON of a service account's key
	account    *identity // as whom to ask where the above hold nothing; nil for the process itself
	digest     string
}

// ParseKeys reads the data of a Secret: age identities in *.agekey, OpenPGP
// keys in *.asc, and credentials in sops.vault-token, sops.aws-kms,
// sops.azure-kv and sops.gcp-kms. Other entries are left alone. An error names
// the entry, not its content.
func ParseKeys(data map[string][]byte) (Keys, error) {
	k := Keys{digest: digestOf(data)}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if err := k.add(name, data[name]); err != nil {
			return Keys{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return k, nil
}

// ParseAgeKeys reads the age identities alone.
func ParseAgeKeys(data map[string][]byte) (Keys, error) {
	only := maps.Clone(data)
	maps.DeleteFunc(only, func(name string, _ []byte) bool { return path.Ext(name) != ".agekey" })
	return ParseKeys(only)
}

// Digest changes with the keys and the account. It is no secret to whoever cannot guess them,
// and goes only into keyed digests.
func (k *Keys) Digest() string {
	if k.account != nil {
		return k.digest + " as " + k.account.name
	}
	return k.digest
}

func digestOf(data map[string][]byte) string {
	text, _ := json.Marshal(data) // keys sorted; never fails
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (k *Keys) add(name string, value []byte) (err error) {
	switch {
	case path.Ext(name) == ".agekey":
		return k.addAge(value)
	case path.Ext(name) == ".asc":
		return k.addPGP(value)
	case name == "sops.vault-token":
		k.vaultToken = strings.TrimSpace(string(value))
	case name == "sops.aws-kms":
		k.aws, err = awsCredentials(value)
	case name == "sops.azure-kv":
		k.azure, err = azureCredential(value)
	case name == "sops.gcp-kms":
		k.gcp, err = gcpCredential(value)
	}
	return err
}

func (k *Keys) addAge(value []byte) error {
	identities, err := age.ParseIdentities(bytes.NewReader(value))
	if err != nil {
		return failed("it holds no age identities (plugins are not supported)")
	}
	k.age = append(k.age, identities...)
	return nil
}

func (k *Keys) addPGP(value []byte) error {
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(value))
	if err != nil {
		if ring, err = openpgp.ReadKeyRing(bytes.NewReader(value)); err != nil {
			return failed("it holds no OpenPGP key")
		}
	}
	for _, entity := range ring {
		if entity.PrivateKey != nil && entity.PrivateKey.Encrypted {
			return failed("the OpenPGP key is protected by a passphrase, which must be removed")
		}
	}
	k.pgp = append(k.pgp, ring...)
	return nil
}
