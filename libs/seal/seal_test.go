package seal

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func newSealer(t *testing.T, fill byte) *Sealer {
	t.Helper()
	s, err := New(bytes.Repeat([]byte{fill}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedDataShowsNothingAndOpensAgain(t *testing.T) {
	s := newSealer(t, 1)
	data := []byte("password: hunter2 password: hunter2")
	name := s.Name(data)
	sealed, err := s.Seal(name, data)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("plaintext in sealed data")
	}
	if got, err := s.Open(name, sealed); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if s.Name(data) != name || newSealer(t, 2).Name(data) == name {
		t.Fatal("a name must depend on data and key alone")
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newSealer(t, 1)
	sealed, err := s.Seal("a", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another name": func() ([]byte, error) { return s.Open("b", sealed) },
		"another key":  func() ([]byte, error) { return newSealer(t, 2).Open("a", sealed) },
		"a changed byte": func() ([]byte, error) {
			return s.Open("a", changed)
		},
		"too little": func() ([]byte, error) { return s.Open("a", sealed[:5]) },
	} {
		if _, err := open(); !errors.Is(err, ErrUnsealed) {
			t.Errorf("%s: %v; want ErrUnsealed", what, err)
		}
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "seal.key")
	if err := EnsureKeyFile(path); err != nil {
		t.Fatal(err)
	}
	a, err := NewFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := EnsureKeyFile(path); err != nil {
		t.Fatal(err)
	}
	b, err := NewFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name(nil) != b.Name(nil) {
		t.Fatal("the key changed")
	}
	if _, err := New([]byte("short")); err == nil {
		t.Fatal("a short key was taken")
	}
}
