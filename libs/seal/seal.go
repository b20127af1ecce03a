// Package seal encrypts rendered sets before they leave the process that made them: a set can hold decrypted Secrets, and the
// bus keeps it on disk. Renderer and applier share one key, which nobody else mounts.
package seal

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// ErrUnsealed says that data was not sealed with this key, or was changed since.
var ErrUnsealed = errors.New("sealed data cannot be opened: wrong key or damaged")

// Sealer seals and opens with one key. Safe for concurrent use.
type Sealer struct {
	aead cipher.AEAD
	name []byte // key for names
	// packers are flate.Writers: making one takes more memory than any small set.
	packers sync.Pool
}

// maxOpened bounds what Open returns.
const maxOpened = 256 << 20

// New makes a Sealer from key material of at least KeySize bytes.
func New(key []byte) (*Sealer, error) {
	if len(key) < KeySize {
		return nil, fmt.Errorf("seal key has %d bytes, want at least %d", len(key), KeySize)
	}
	encrypt, err := hkdf.Key(sha256.New, key, nil, "sluice sealed sets", 32)
	if err != nil {
		return nil, fmt.Errorf("derive seal key: %w", err)
	}
	name, err := hkdf.Key(sha256.New, key, nil, "sluice set names", 32)
	if err != nil {
		return nil, fmt.Errorf("derive name key: %w", err)
	}
	block, err := aes.NewCipher(encrypt)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Sealer{aead: aead, name: name}, nil
}

// NewFromFile makes a Sealer from a key file.
func NewFromFile(path string) (*Sealer, error) {
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	s, err := New(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// EnsureKeyFile makes a random key at path unless there is one.
func EnsureKeyFile(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make seal key: %w", err)
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return fmt.Errorf("make seal key: %w", err)
	}
	return nil
}

// Name is the content address of data: the same for the same data and key, and it tells nothing of the data to who lacks the key.
func (s *Sealer) Name(data []byte) string {
	mac := hmac.New(sha256.New, s.name)
	mac.Write(data)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// NameKey is a key for other keyed digests of what a set is made from.
func (s *Sealer) NameKey() []byte { return s.name }

// Seal compresses and encrypts data; name is bound to it and must be given to Open.
func (s *Sealer) Seal(name string, data []byte) ([]byte, error) {
	packed, err := s.pack(data)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(packed)+s.aead.Overhead())
	_, _ = rand.Read(nonce)
	return s.aead.Seal(nonce, nonce, packed, []byte(name)), nil
}

func (s *Sealer) pack(data []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, ok := s.packers.Get().(*flate.Writer)
	if !ok {
		var err error
		if w, err = flate.NewWriter(&packed, flate.BestSpeed); err != nil {
			return nil, err
		}
	}
	w.Reset(&packed)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	w.Reset(io.Discard) // what is packed must not stay with the writer
	s.packers.Put(w)
	return packed.Bytes(), nil
}

// Open gives back what was sealed under name; ErrUnsealed when it was not sealed by this key or name, or was changed.
func (s *Sealer) Open(name string, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("open %s: %w", name, ErrUnsealed)
	}
	packed, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, ErrUnsealed)
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxOpened+1))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if len(data) > maxOpened {
		return nil, fmt.Errorf("open %s: larger than %d bytes", name, maxOpened)
	}
	return data, nil
}
