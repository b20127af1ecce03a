package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// person signs with an OpenPGP or an SSH key.
type person struct {
	sign   gittest.Sign
	public []byte
	name   string // of the key
}

func pgpPerson(t *testing.T, config *packet.Config) person {
	t.Helper()
	entity, err := openpgp.NewEntity("Jane", "", "jane@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	var public bytes.Buffer
	w, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(entity.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return person{func(payload []byte) ([]byte, error) {
		var b bytes.Buffer
		err := openpgp.ArmoredDetachSign(&b, entity, bytes.NewReader(payload), config)
		return append(b.Bytes(), '\n'), err
	}, public.Bytes(), entity.PrimaryKey.KeyIdString()}
}

func sshPerson(t *testing.T, namespace string) person {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return person{func(payload []byte) ([]byte, error) {
		s, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, namespace)
		if err != nil {
			return nil, err
		}
		return sshsig.Armor(s), nil
	}, ssh.MarshalAuthorizedKey(signer.PublicKey()), ssh.FingerprintSHA256(signer.PublicKey())}
}

const tree = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"

const unsigned = tree + "author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nmessage\n"

var hash = strings.Repeat("1", 40)

// signedCommit puts a signature of text into it.
func signedCommit(t *testing.T, p person, text string) []byte {
	t.Helper()
	signature, err := p.sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return withSignature(text, "gpgsig", signature)
}

func withSignature(text, field string, signature []byte) []byte {
	header, message, _ := strings.Cut(text, "\n\n")
	return []byte(header + "\n" + field + " " + strings.ReplaceAll(strings.TrimSpace(string(signature)), "\n", "\n ") + "\n\n" + message)
}

func signedTag(t *testing.T, p person, text string) []byte {
	t.Helper()
	signature, err := p.sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(text), signature...)
}

func mode(m sourcev1.GitVerificationMode) *sourcev1.GitRepositoryVerification {
	return &sourcev1.GitRepositoryVerification{Mode: m}
}

func TestRevision(t *testing.T) {
	pgp, secure, stranger := pgpPerson(t, nil), sshPerson(t, "git"), pgpPerson(t, nil)
	sshStranger, file := sshPerson(t, "git"), sshPerson(t, "file")
	keys := map[string][]byte{"jane.asc": pgp.public, "john.sshpub": append(secure.public, file.public...), "README": []byte("no key")}
	tagText := "object " + hash + "\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nrelease\n"
	commit := signedCommit(t, pgp, unsigned)
	bent := func(old, with string) []byte { return bytes.Replace(commit, []byte(old), []byte(with), 1) }
	twice := withSignature(string(commit), "gpgsig", []byte("-----BEGIN PGP SIGNATURE-----\nx"))
	const head, tag, both = sourcev1.ModeGitHEAD, sourcev1.ModeGitTag, sourcev1.ModeGitTagAndHEAD
	for name, c := range map[string]struct {
		mode          sourcev1.GitVerificationMode
		commit        []byte
		ref           string
		tag           []byte
		keys          map[string][]byte
		reason, words string // empty reason: verified
	}{
		"openpgp":                   {head, commit, "refs/heads/main", nil, nil, "", "commit '" + hash + "' with key '" + pgp.name},
		"the old spelling":          {"head", commit, "", nil, nil, "", pgp.name},
		"no mode":                   {"", commit, "", nil, nil, "", pgp.name},
		"ssh":                       {head, signedCommit(t, secure, unsigned), "", nil, nil, "", secure.name},
		"no message":                {head, signedCommit(t, secure, strings.TrimSuffix(unsigned, "message\n")), "", nil, nil, "", secure.name},
		"merge of a signed tag":     {head, signedCommit(t, pgp, strings.Replace(unsigned, "\n\n", "\nmergetag object "+hash+"\n type commit\n  gpgsig x\n\n", 1)), "", nil, nil, "", pgp.name},
		"both hashes":               {head, withSignature(string(commit), "gpgsig-sha256", []byte("-----BEGIN PGP SIGNATURE-----\nx")), "", nil, nil, "", pgp.name},
		"unsigned":                  {head, []byte(unsigned), "", nil, nil, ReasonCommit, "not signed"},
		"stranger":                  {head, signedCommit(t, stranger, unsigned), "", nil, nil, ReasonCommit, "no key of the Secret"},
		"stranger with ssh":         {head, signedCommit(t, sshStranger, unsigned), "", nil, nil, ReasonCommit, sshStranger.name},
		"signature of a file":       {head, signedCommit(t, file, unsigned), "", nil, nil, ReasonCommit, "namespace"},
		"another tree":              {head, bent("tree 4b", "tree 4c"), "", nil, nil, ReasonCommit, ""},
		"another message":           {head, bent("message", "Message"), "", nil, nil, ReasonCommit, ""},
		"a header more":             {head, bent("\ngpgsig", "\nparent "+hash+"\ngpgsig"), "", nil, nil, ReasonCommit, ""},
		"two signatures":            {head, twice, "", nil, nil, ReasonCommit, "two signatures"},
		"signature in the message":  {head, []byte(unsigned + string(commit[bytes.Index(commit, []byte("gpgsig")):])), "", nil, nil, ReasonCommit, "not signed"},
		"x509":                      {head, withSignature(unsigned, "gpgsig", []byte("-----BEGIN SIGNED MESSAGE-----\nx")), "", nil, nil, ReasonCommit, "X.509"},
		"rubbish":                   {head, withSignature(unsigned, "gpgsig", []byte("-----BEGIN SSH SIGNATURE-----\nx")), "", nil, nil, ReasonCommit, "malformed"},
		"unknown kind":              {head, withSignature(unsigned, "gpgsig", []byte("x")), "", nil, nil, ReasonCommit, "not known"},
		"no keys":                   {head, commit, "", nil, map[string][]byte{"john.sshpub": secure.public}, ReasonCommit, "no OpenPGP public keys"},
		"no ssh keys":               {head, signedCommit(t, secure, unsigned), "", nil, map[string][]byte{"a": pgp.public}, ReasonCommit, "no SSH public keys"},
		"broken keys are named":     {head, commit, "", nil, map[string][]byte{"jane.asc": []byte("x"), "j.asc": stranger.public}, ReasonCommit, "'jane.asc'"},
		"signers with limits":       {head, signedCommit(t, secure, unsigned), "", nil, map[string][]byte{"a.sshpub": []byte(`jane@example.com valid-before="20200101" ` + string(secure.public))}, ReasonCommit, "not usable"},
		"certificate authority":     {head, signedCommit(t, secure, unsigned), "", nil, map[string][]byte{"a.sshpub": []byte("cert-authority " + string(secure.public))}, ReasonCommit, "options"},
		"allowed signers":           {head, signedCommit(t, secure, unsigned), "", nil, map[string][]byte{"a.sshpub": []byte("# who\n\njane@example.com " + string(secure.public))}, "", secure.name},
		"key without an ending":     {head, commit, "", nil, map[string][]byte{"jane": pgp.public}, "", pgp.name},
		"tag":                       {tag, []byte(unsigned), "refs/tags/v1", signedTag(t, pgp, tagText), nil, "", "tag 'v1' with key '" + pgp.name},
		"tag by ssh":                {tag, []byte(unsigned), "refs/tags/v1", signedTag(t, secure, tagText), nil, "", secure.name},
		"tag and head":              {both, signedCommit(t, secure, unsigned), "refs/tags/v1", signedTag(t, pgp, tagText), nil, "", "commit '"},
		"tag, and head unsigned":    {both, []byte(unsigned), "refs/tags/v1", signedTag(t, pgp, tagText), nil, ReasonCommit, "not signed"},
		"head, and tag by stranger": {both, commit, "refs/tags/v1", signedTag(t, stranger, tagText), nil, ReasonTag, "no key"},
		"branch":                    {tag, commit, "refs/heads/main", nil, nil, ReasonMode, "follows none"},
		"lightweight tag":           {tag, commit, "refs/tags/v1", nil, nil, ReasonObject, "not signed"},
		"annotated, not signed":     {tag, commit, "refs/tags/v1", []byte(tagText), nil, ReasonObject, "not signed"},
		"old tag under a new name":  {tag, commit, "refs/tags/v2", signedTag(t, pgp, tagText), nil, ReasonTag, "tag v2"},
		"tag of another commit":     {tag, commit, "refs/tags/v1", signedTag(t, pgp, strings.Replace(tagText, "1111", "2222", 1)), nil, ReasonTag, "object"},
		"tag of a tag":              {tag, commit, "refs/tags/v1", signedTag(t, pgp, strings.Replace(tagText, "type commit", "type tag", 1)), nil, ReasonTag, "type commit"},
		"tag with more headers":     {tag, commit, "refs/tags/v1", signedTag(t, pgp, strings.Replace(tagText, "\n\n", "\nx y\n\n", 1)), nil, ReasonTag, "headers"},
		"tag changed":               {tag, commit, "refs/tags/v1", bytes.Replace(signedTag(t, pgp, tagText), []byte("release"), []byte("Release"), 1), nil, ReasonTag, ""},
		"a commit's signature":      {tag, commit, "refs/tags/v1", append([]byte(tagText), commit[bytes.Index(commit, []byte("-----")):]...), nil, ReasonTag, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.keys == nil {
				c.keys = keys
			}
			message, err := Revision(NewKeys(c.keys), mode(c.mode), Subject{Hash: hash, Commit: c.commit, Reference: c.ref, Tag: c.tag})
			if c.reason == "" {
				if err != nil || !strings.Contains(message, c.words) {
					t.Fatalf("%q, %v", message, err)
				}
				return
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != c.reason || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("%q, %v", message, err)
			}
			if failure.Stalled != (c.reason == ReasonMode) {
				t.Errorf("stalled is %v", failure.Stalled)
			}
		})
	}
}

// A key that has expired vouches for nothing.
func TestExpiredKey(t *testing.T) {
	past := &packet.Config{Time: func() time.Time { return time.Now().Add(-48 * time.Hour) }, KeyLifetimeSecs: 3600}
	p := pgpPerson(t, past)
	_, err := Revision(NewKeys(map[string][]byte{"a.asc": p.public}), mode("HEAD"), Subject{Hash: hash, Commit: signedCommit(t, p, unsigned)})
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatal(err)
	}
}

func TestDigestOfKeys(t *testing.T) {
	a, b := NewKeys(map[string][]byte{"a": []byte("1")}), NewKeys(map[string][]byte{"a": []byte("2")})
	if a.Digest() == b.Digest() || a.Digest() != NewKeys(map[string][]byte{"a": []byte("1")}).Digest() {
		t.Fatal("digests do not tell keys apart")
	}
}

// What git itself signs is verified.
func TestGitSigns(t *testing.T) {
	for program, setUp := range map[string]func(t *testing.T, dir string, run func(string, ...string) string) (map[string][]byte, []string){
		"gpg": func(t *testing.T, dir string, run func(string, ...string) string) (map[string][]byte, []string) {
			home := filepath.Join(dir, "gnupg")
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("GNUPGHOME", home)
			t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
			run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "jane@example.com", "rsa2048", "sign", "never")
			return map[string][]byte{"jane.asc": []byte(run("gpg", "--armor", "--export", "jane@example.com"))}, []string{"user.signingKey=jane@example.com"}
		},
		"ssh-keygen": func(t *testing.T, dir string, run func(string, ...string) string) (map[string][]byte, []string) {
			key := filepath.Join(dir, "key")
			run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key)
			public, err := os.ReadFile(key + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			return map[string][]byte{"jane.sshpub": public}, []string{"gpg.format=ssh", "user.signingKey=" + key}
		},
	} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip("no " + program + " here")
			}
			dir := t.TempDir()
			run := func(name string, args ...string) string {
				t.Helper()
				cmd := exec.CommandContext(t.Context(), name, args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s %v: %v", name, args, err)
				}
				return string(out)
			}
			keys, config := setUp(t, dir, run)
			git := func(args ...string) string {
				t.Helper()
				all := []string{"-c", "user.name=Jane", "-c", "user.email=jane@example.com"}
				for _, c := range config {
					all = append(all, "-c", c)
				}
				return run("git", append(all, args...)...)
			}
			git("init", "--quiet", "--initial-branch=main")
			git("commit", "--quiet", "--allow-empty", "-S", "-m", "one\n\nbody")
			git("tag", "-s", "-m", "release", "v1")
			s := Subject{
				Hash: strings.TrimSpace(git("rev-parse", "HEAD")), Commit: []byte(git("cat-file", "commit", "HEAD")),
				Reference: "refs/tags/v1", Tag: []byte(git("cat-file", "tag", "v1")),
			}
			if _, err := Revision(NewKeys(keys), mode("TagAndHEAD"), s); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Whatever a signature looks like, it is refused or it was made.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(unsigned))
	f.Add(withSignature(unsigned, "gpgsig", []byte(beginPGP+"\nx")))
	f.Add([]byte("object x\n" + beginSSH + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, signature, err := splitCommit(raw)
		if err == nil && signature == nil && !bytes.Contains(raw, []byte("gpgsig")) && !bytes.Equal(payload, raw) {
			t.Fatalf("%q became %q", raw, payload)
		}
		payload, signature = splitTag(raw)
		if !bytes.Equal(append(bytes.Clone(payload), signature...), raw) {
			t.Fatalf("%q was torn", raw)
		}
		_, _ = Keys{}.check(payload, signature)
	})
}
