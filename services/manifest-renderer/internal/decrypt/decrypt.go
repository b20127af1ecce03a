// Package decrypt opens what SOPS encrypted, for spec.decryption of a
// Kustomization.
//
// The formats and the cryptography of the values are those of getsops/sops. The
// keys are opened here, by a key service of our own: in memory, with what the
// Kustomization's Secret holds, without a keyring on disk, the environment of
// the process, or a program such as gpg or an age plugin. No error says what was
// encrypted, nor anything of a key.
//
// The package knows nothing of kustomizations: which files and objects are
// encrypted is for its caller to find out.
package decrypt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"
)

// MaxSize is the most bytes of an encrypted file.
const MaxSize = 5 << 20

// keyTime bounds the opening of one file's data key, which can mean requests to
// key management services.
const keyTime = 30 * time.Second

// Provider is the one value that spec.decryption.provider can have.
const Provider = "sops"

// Error says why something cannot be decrypted. It can be shown.
type Error struct {
	Message string
	// Passing says that trying again may help: a key management service did
	// not answer.
	Passing bool
}

func (e *Error) Error() string { return e.Message }

func failed(format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}

// Decryptor opens what the keys of one Kustomization open. It is safe for
// concurrent use.
type Decryptor struct {
	// Vault is the process's own, for keys without a token; empty for none.
	Vault Vault

	keys Keys
	// client makes the client for requests to addresses that a file names.
	client func() *http.Client
	// aws is the client for AWS, whose library makes its own when it is nil.
	aws *http.Client
}

// New returns a Decryptor with keys.
func New(keys Keys) *Decryptor { return &Decryptor{keys: keys, client: guardedClient} }

// Digest changes with the keys; see Keys.Digest.
func (d *Decryptor) Digest() string { return d.keys.Digest() }

// Quiet keeps the library from writing lines of its own to standard error. It
// changes the state of the process and belongs into main.
func Quiet() {
	for _, l := range logging.Loggers {
		l.SetOutput(io.Discard)
		l.SetLevel(logrus.PanicLevel)
	}
}

// Decrypt opens data, which is in one format, and gives its content in another.
// Every value is authenticated with its place in the file; the checksum over
// the whole file is not looked at, as kustomize may have changed what is not
// encrypted. A failure is an *Error, or that of ctx.
func (d *Decryptor) Decrypt(ctx context.Context, data []byte, in, out Format) (plain []byte, err error) {
	defer func() {
		if recover() != nil { // what a panic says can quote the content
			plain, err = nil, failed("it is no valid SOPS %s file", in)
		}
	}()
	if err := check(data, in); err != nil {
		return nil, err
	}
	file, err := in.store().LoadEncryptedFile(data)
	if err != nil {
		return nil, failed("it is no valid SOPS %s file", in)
	}
	key, err := d.dataKey(ctx, &file.Metadata)
	if err != nil {
		return nil, err
	}
	if _, err := file.Decrypt(key, aes.NewCipher()); err != nil {
		return nil, failed("a value is not encrypted with the file's data key, or was changed")
	}
	plain, err = out.store().EmitPlainFile(file.Branches)
	if err != nil {
		return nil, failed("the decrypted %s cannot be written as %s", in, out)
	}
	return plain, nil
}

// dataKey opens the key that the values of one file are encrypted with.
func (d *Decryptor) dataKey(ctx context.Context, m *sops.Metadata) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, keyTime)
	defer cancel()
	s := &service{ctx: ctx, keys: &d.keys, client: d.client, aws: d.aws, vault: d.Vault}
	m.DataKey = nil
	key, err := m.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(s)}, sops.DefaultDecryptionOrder)
	if err == nil {
		return key, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return nil, s.failure()
}
