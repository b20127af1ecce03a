package branch

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/crypto/ssh"

	"github.com/sluice-cd/sluice/libs/git/sign"
	"github.com/sluice-cd/sluice/libs/git/verify"
	"github.com/sluice-cd/sluice/libs/gittest"
)

const passphrase = "correct horse"

// secrets are a private key as a signingKey's Secret has it, and the public one as
// spec.verify's has it.
type secrets struct {
	kind            string
	private, public map[string][]byte
}

func pgpKey(t *testing.T, encrypted bool) secrets {
	t.Helper()
	entity, err := openpgp.NewEntity("Bot", "", "bot@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var public, private bytes.Buffer
	armored(t, &public, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return entity.Serialize(w) })
	data := map[string][]byte{}
	if encrypted {
		if err := entity.EncryptPrivateKeys([]byte(passphrase), nil); err != nil {
			t.Fatal(err)
		}
		data["passphrase"] = []byte(passphrase)
	}
	armored(t, &private, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return entity.SerializePrivateWithoutSigning(w, nil) })
	data["git.asc"] = private.Bytes()
	return secrets{sign.GPG, data, map[string][]byte{"key.asc": public.Bytes()}}
}

func armored(t *testing.T, to *bytes.Buffer, kind string, write func(*bytes.Buffer) error) {
	t.Helper()
	var raw bytes.Buffer
	if err := write(&raw); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(to, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	to.WriteByte('\n')
}

func sshKey(t *testing.T, key any, encrypted bool) secrets {
	t.Helper()
	data := map[string][]byte{}
	block, err := ssh.MarshalPrivateKey(key, "bot")
	if encrypted {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "bot", []byte(passphrase))
		data["password"] = []byte(passphrase)
	}
	if err != nil {
		t.Fatal(err)
	}
	data["identity"] = pem.EncodeToMemory(block)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return secrets{sign.SSH, data, map[string][]byte{"bot.sshpub": ssh.MarshalAuthorizedKey(signer.PublicKey())}}
}

func keys(t *testing.T) map[string]secrets {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]secrets{
		"pgp": pgpKey(t, false), "pgp with passphrase": pgpKey(t, true),
		"ed25519": sshKey(t, ed, false), "ed25519 with passphrase": sshKey(t, ed, true), "ecdsa": sshKey(t, ec, false), "rsa": sshKey(t, r, false),
	}
}

// git and our own check find the signature good, and not any more once the commit is another.
func TestSignatures(t *testing.T) {
	for name, s := range keys(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
			key, err := sign.New(s.kind, s.private)
			w.do(err)
			d := draft("a", "2")
			d.Signer, d.Message = key, "update\n\nbody with ü\n"
			c, err := push(t.Context(), w.open(""), d)
			w.do(err)
			w.sound()
			w.verifyWithGit(s, c.Hash)
			raw := w.open("").Head().Commit().Raw
			mode := &sourcev1.GitRepositoryVerification{Mode: sourcev1.ModeGitHEAD}
			if _, err := verify.Revision(verify.NewKeys(s.public), mode, verify.Subject{Hash: c.Hash, Commit: raw}); err != nil {
				t.Error(err)
			}
			forged := bytes.Replace(raw, []byte("body"), []byte("bodY"), 1)
			if _, err := verify.Revision(verify.NewKeys(s.public), mode, verify.Subject{Hash: c.Hash, Commit: forged}); err == nil {
				t.Error("a changed commit passes")
			}
		})
	}
}

// verifyWithGit has the git program check a signature, by gpg or ssh-keygen.
func (w *world) verifyWithGit(s secrets, hash string) {
	w.Helper()
	dir, err := os.MkdirTemp("", "keys") // a short path, for the sockets of gpg
	w.do(err)
	w.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := map[string]string{sign.GPG: "gpg", sign.SSH: "ssh-keygen"}[s.kind]
	if _, err := exec.LookPath(program); err != nil {
		w.Logf("no %s here", program)
		return
	}
	args := []string{}
	for name, content := range s.public {
		path := filepath.Join(dir, name)
		w.do(os.WriteFile(path, append(map[string][]byte{sign.SSH: []byte("bot@example.com ")}[s.kind], content...), 0o600))
		if s.kind == sign.SSH {
			args = append(args, "-c", "gpg.ssh.allowedSignersFile="+path)
			continue
		}
		cmd := exec.CommandContext(w.Context(), "gpg", "--homedir", dir, "--batch", "--no-autostart", "--import", path)
		if out, err := cmd.CombinedOutput(); err != nil {
			w.Fatalf("gpg: %v: %s", err, out)
		}
	}
	cmd := exec.CommandContext(w.Context(), "git", append(append([]string{"-C", w.repo.Path(), "-c", "safe.directory=*"}, args...), "verify-commit", "-v", hash)...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+dir, "LC_ALL=C", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Good ") {
		w.Errorf("git verify-commit: %v: %s", err, out)
	}
}

func TestBadKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	locked := pgpKey(t, true)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lockedSSH := sshKey(t, ed, true)
	with := func(data map[string][]byte, key, value string) map[string][]byte {
		changed := map[string][]byte{key: []byte(value)}
		for k, v := range data {
			if k != key {
				changed[k] = v
			}
		}
		return changed
	}
	public := pgpKey(t, false).public["key.asc"]
	for name, test := range map[string]struct {
		kind string
		data map[string][]byte
		word string
	}{
		"unknown type":       {"x509", nil, "x509"},
		"no pgp key":         {"", nil, "git.asc"},
		"garbage":            {"gpg", map[string][]byte{"git.asc": []byte("hunter2")}, "git.asc"},
		"public key":         {"gpg", map[string][]byte{"git.asc": public}, "no private key"},
		"no passphrase":      {"gpg", with(locked.private, "passphrase", ""), "'passphrase'"},
		"wrong passphrase":   {"gpg", with(locked.private, "passphrase", "hunter2"), "does not open"},
		"no ssh key":         {"ssh", nil, "identity"},
		"garbage for ssh":    {"ssh", map[string][]byte{"identity": []byte("hunter2")}, "identity"},
		"no ssh passphrase":  {"ssh", with(lockedSSH.private, "password", ""), "'password'"},
		"wrong ssh password": {"ssh", with(lockedSSH.private, "password", "hunter2"), "does not open"},
		"small rsa":          {"ssh", sshKey(t, small, false).private, "1024"},
		"pgp key, type ssh":  {"ssh", locked.private, "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sign.New(test.kind, test.data)
			wantError(t, err, sign.ErrKey, test.word)
			if strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
}

// A commit that cannot be signed is not made.
func TestSigningFails(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	d := draft("a", "2")
	d.Signer = failing{}
	_, err := w.open("").Commit(t.Context(), d)
	wantError(t, err, context.DeadlineExceeded)
}

type failing struct{}

func (failing) Sign([]byte) ([]byte, error) { return nil, context.DeadlineExceeded }
