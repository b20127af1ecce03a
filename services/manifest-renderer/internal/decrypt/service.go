package decrypt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3/keyservice"
)

// Bounds of one file.
const (
	maxKeys    = 64   // keys that are tried
	maxDataKey = 4096 // bytes of an opened data key
)

// service opens the data key of one file, for the library, which asks it for one
// key of the file after the other.
type service struct {
	ctx     context.Context // of the one file that the service lives for
	keys    *Keys
	client  func() *http.Client
	aws     *http.Client
	vault   Vault
	tried   []string
	passing bool
}

// Encrypt is never needed.
func (s *service) Encrypt(context.Context, *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	return nil, failed("not supported")
}

// Decrypt opens a data key with the key that a file names.
func (s *service) Decrypt(_ context.Context, r *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	if len(s.tried) >= maxKeys {
		return nil, failed("the file names more than %d keys", maxKeys)
	}
	name, plain, err := s.open(r)
	if err == nil {
		return &keyservice.DecryptResponse{Plaintext: plain}, nil
	}
	s.tried = append(s.tried, name+": "+err.Error())
	return nil, err
}

// failure says what was tried.
func (s *service) failure() *Error {
	message := "it names no key that could open it"
	if len(s.tried) > 0 {
		message = strings.Join(s.tried, "; ")
	}
	return &Error{Message: fmt.Sprintf("cannot get the data key: %s", message), Passing: s.passing}
}

func (s *service) open(r *keyservice.DecryptRequest) (name string, plain []byte, err error) {
	switch k := r.GetKey().GetKeyType().(type) {
	case *keyservice.Key_AgeKey:
		plain, err = s.keys.openAge(r.Ciphertext)
		return "age " + k.AgeKey.GetRecipient(), plain, err
	case *keyservice.Key_PgpKey:
		plain, err = s.keys.openPGP(r.Ciphertext)
		return "PGP " + k.PgpKey.GetFingerprint(), plain, err
	case *keyservice.Key_VaultKey:
		plain, err = s.openVault(k.VaultKey, r.Ciphertext)
		return "Vault " + k.VaultKey.GetKeyName(), plain, err
	case *keyservice.Key_KmsKey:
		plain, err = s.openAWS(k.KmsKey, r.Ciphertext)
		return "AWS KMS " + k.KmsKey.GetArn(), plain, err
	case *keyservice.Key_GcpKmsKey:
		plain, err = s.openGCP(k.GcpKmsKey, r.Ciphertext)
		return "GCP KMS " + k.GcpKmsKey.GetResourceId(), plain, err
	case *keyservice.Key_AzureKeyvaultKey:
		plain, err = s.openAzure(k.AzureKeyvaultKey, r.Ciphertext)
		return "Azure Key Vault " + k.AzureKeyvaultKey.GetName(), plain, err
	}
	return "key", nil, failed("this kind of key is not supported")
}

func (k *Keys) openAge(data []byte) ([]byte, error) {
	if len(k.age) == 0 {
		return nil, failed("the Secret holds no age identity")
	}
	r, err := age.Decrypt(agearmor.NewReader(bytes.NewReader(data)), k.age...)
	if err != nil {
		return nil, failed("no age identity of the Secret opens it")
	}
	return readKey(r)
}

func (k *Keys) openPGP(data []byte) ([]byte, error) {
	if len(k.pgp) == 0 {
		return nil, failed("the Secret holds no OpenPGP key")
	}
	block, err := pgparmor.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, failed("the data key is not armored")
	}
	m, err := openpgp.ReadMessage(block.Body, k.pgp, nil, nil)
	if err != nil {
		return nil, failed("no OpenPGP key of the Secret opens it")
	}
	return readKey(m.UnverifiedBody)
}

func readKey(r io.Reader) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, maxDataKey))
	if err != nil {
		return nil, failed("the data key is damaged")
	}
	return plain, nil
}

// asked is the outcome of a request to a key management service. What those say
// can be long, and hold more than who reads a status should see.
func (s *service) asked(plain []byte, err error) ([]byte, error) {
	if err == nil {
		return plain, nil
	}
	if refused, reason := refusal(err); refused {
		s.passing = s.passing || s.keys.account != nil // what mends an account changes nothing that a render reads
		return nil, failed("%s", reason)
	}
	s.passing = true
	return nil, failed("the request failed: %s", brief(err))
}
