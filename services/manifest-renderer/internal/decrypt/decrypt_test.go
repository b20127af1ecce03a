package decrypt

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt/decrypttest"
)

const canary = "c4nary-pl4intext"

// plain are files with the canary in them, by name.
var plain = map[string]string{
	"a.yaml":            "a:\n    b: " + canary + "\n    list:\n        - x\n        - 5\n",
	"a.json":            "{\n\t\"a\": {\n\t\t\"b\": \"" + canary + "\"\n\t}\n}\n",
	"a.env":             "A=" + canary + "\nB=c\n",
	"a.ini":             "[part]\nkey = " + canary + "\n",
	"a.key":             "no format at all\n" + canary + "\n",
	".dockerconfigjson": "",
}

func decryptor(t testing.TB, secret map[string][]byte) *Decryptor {
	t.Helper()
	k, err := ParseKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	return New(k)
}

func TestEveryFormatWithEveryKey(t *testing.T) {
	for kind, key := range map[string]decrypttest.Key{"age": decrypttest.Age(t), "pgp": decrypttest.PGP(t)} {
		d := decryptor(t, map[string][]byte{key.Entry: key.Private, "README": []byte("left alone")})
		for name, want := range plain {
			if want == "" {
				continue
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				encrypted := decrypttest.Encrypt(t, name, want, "", key.Master)
				if strings.Contains(encrypted, canary) {
					t.Fatal("the test does not encrypt")
				}
				f := FormatOf(name)
				if !f.Marks([]byte(encrypted)) {
					t.Errorf("not seen to be encrypted %s:\n%s", f, encrypted)
				}
				if found, ok := Detect([]byte(encrypted)); !ok || found != f && f != Binary {
					t.Errorf("detected %s, %v; want %s", found, ok, f)
				}
				got, err := d.Decrypt(t.Context(), []byte(encrypted), f, f)
				if err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// The envelope of a binary file is JSON, and detected as such.
func TestDetectedBinary(t *testing.T) {
	key := decrypttest.Age(t)
	encrypted := []byte(decrypttest.Encrypt(t, "a.key", plain["a.key"], "", key.Master))
	in, ok := Detect(encrypted)
	got, err := decryptor(t, map[string][]byte{key.Entry: key.Private}).Decrypt(t.Context(), encrypted, in, FormatOf("a.key"))
	if !ok || err != nil || string(got) != plain["a.key"] {
		t.Errorf("got %q, %v, %v", got, ok, err)
	}
}

func TestOneOfSeveralKeysIsEnough(t *testing.T) {
	age, pgp, other := decrypttest.Age(t), decrypttest.PGP(t), decrypttest.Age(t)
	encrypted := decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", other.Master, age.Master, pgp.Master)
	for _, key := range []decrypttest.Key{age, pgp, other} {
		if _, err := decryptor(t, map[string][]byte{key.Entry: key.Private}).Decrypt(t.Context(), []byte(encrypted), YAML, YAML); err != nil {
			t.Errorf("%s: %v", key.Entry, err)
		}
	}
}

func TestFailures(t *testing.T) {
	key, other, pgp := decrypttest.Age(t), decrypttest.Age(t), decrypttest.PGP(t)
	encrypted := decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key.Master)
	right := map[string][]byte{key.Entry: key.Private}
	tests := map[string]struct {
		secret map[string][]byte
		data   string
		format Format
		want   string
	}{
		"no key":             {nil, encrypted, YAML, "the Secret holds no age identity"},
		"another key":        {map[string][]byte{other.Entry: other.Private}, encrypted, YAML, "no age identity of the Secret opens it"},
		"another kind":       {map[string][]byte{pgp.Entry: pgp.Private}, encrypted, YAML, "the Secret holds no age identity"},
		"another PGP key":    {map[string][]byte{pgp.Entry: pgp.Private}, decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", decrypttest.PGP(t).Master), YAML, "no OpenPGP key of the Secret opens it"},
		"a changed value":    {right, strings.Replace(encrypted, ",data:", ",data:AAAA", 1), YAML, "was changed"},
		"a value in clear":   {right, strings.Replace(encrypted, "list:", "c: "+canary+"\n    list:", 1), YAML, "not encrypted with the file's data key"},
		"no SOPS file":       {right, "a: " + canary + "\n", YAML, "no valid SOPS YAML file"},
		"broken YAML":        {right, "a: [" + canary + "\nmac: ENC[\n", YAML, "no valid SOPS YAML file"},
		"deep JSON":          {right, strings.Repeat("[", 100_000) + `"mac": "ENC[`, JSON, "nested too deep"},
		"deep in text":       {right, `{"sops": "` + strings.Repeat("[", 100_000) + `"}`, JSON, "no valid SOPS JSON file"},
		"too large":          {right, strings.Repeat("x", MaxSize+1), Dotenv, "at most"},
		"no keys named":      {right, "a: b\nsops: {mac: 'ENC[', version: 3.0.0, lastmodified: '2024-01-01T00:00:00Z'}\n", YAML, "no valid SOPS YAML file"},
		"metadata is no map": {right, "a: " + canary + "\nsops: [" + canary + "]\n", YAML, "no valid SOPS YAML file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := decryptor(t, tt.secret).Decrypt(t.Context(), []byte(tt.data), tt.format, tt.format)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Message, tt.want) || e.Passing {
				t.Fatalf("got %q, %v; want an error with %q", got, err, tt.want)
			}
			for _, secret := range []string{canary, string(key.Private), "AGE-SECRET-KEY"} {
				if strings.Contains(e.Message, secret) {
					t.Errorf("the message has a secret: %s", e.Message)
				}
			}
		})
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for name, value := range map[string]string{
		"a.agekey": "AGE-SECRET-KEY-1" + canary, "b.agekey": "AGE-PLUGIN-" + canary, "c.asc": canary, "sops.aws-kms": "aws_access_key_id: " + canary,
		"sops.azure-kv": "tenantId: [" + canary, "sops.gcp-kms": `{"type": "external_account", "credential_source": {"executable": {"command": "` + canary + `"}}}`,
	} {
		_, err := ParseKeys(map[string][]byte{name: []byte(value)})
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v, want an error without its content", name, err)
		}
	}
}

func TestAgeKeysAlone(t *testing.T) {
	key := decrypttest.Age(t)
	k, err := ParseAgeKeys(map[string][]byte{key.Entry: key.Private, "sops.vault-token": []byte("t"), "a.asc": []byte("broken")})
	if err != nil || len(k.age) != 1 || k.vaultToken != "" {
		t.Errorf("got %d identities and token %q, %v", len(k.age), k.vaultToken, err)
	}
}

func TestDigest(t *testing.T) {
	key := decrypttest.Age(t)
	a := decryptor(t, map[string][]byte{key.Entry: key.Private}).Digest()
	b := decryptor(t, map[string][]byte{"other.agekey": key.Private}).Digest()
	if again := decryptor(t, map[string][]byte{key.Entry: key.Private}).Digest(); a == b || a != again {
		t.Errorf("digests %s, %s, again %s", a, b, again)
	}
}

// vault is a server that opens the data key for a token.
func vault(t *testing.T, answer int) (address string, master keys.MasterKey) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/transit/decrypt/team" || r.Header.Get("X-Vault-Token") != "t0ken" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(answer)
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(decrypttest.DataKey())}})
	}))
	t.Cleanup(server.Close)
	key := hcvault.NewMasterKey(server.URL, "transit", "team")
	key.EncryptedKey = "vault:v1:x"
	return server.URL, key
}

func TestVault(t *testing.T) {
	_, master := vault(t, http.StatusOK)
	encrypted := []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", master))
	d := decryptor(t, map[string][]byte{"sops.vault-token": []byte("t0ken\n")})
	_, err := d.Decrypt(t.Context(), encrypted, YAML, YAML)
	if err == nil || !strings.Contains(err.Error(), "connections to 127.0.0.1 are refused") {
		t.Errorf("a Vault on this machine: got %v", err)
	}
	d.client = func() *http.Client { return &http.Client{} }
	if got, err := d.Decrypt(t.Context(), encrypted, YAML, YAML); err != nil || string(got) != plain["a.yaml"] {
		t.Errorf("got %q, %v", got, err)
	}
	wrong := decryptor(t, map[string][]byte{"sops.vault-token": []byte("wr0ng-t0ken")})
	wrong.client = d.client
	var e *Error
	if _, err = wrong.Decrypt(t.Context(), encrypted, YAML, YAML); !errors.As(err, &e) || e.Passing || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with a wrong token: got %v", err)
	}
	if _, err = decryptor(t, nil).Decrypt(t.Context(), encrypted, YAML, YAML); err == nil || !strings.Contains(err.Error(), "sops.vault-token") {
		t.Errorf("without a token: got %v", err)
	}
}

func TestServiceThatDoesNotAnswerPasses(t *testing.T) {
	_, master := vault(t, http.StatusBadGateway)
	d := decryptor(t, map[string][]byte{"sops.vault-token": []byte("t0ken")})
	d.client = func() *http.Client { return &http.Client{} }
	_, err := d.Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", master)), YAML, YAML)
	if e := (*Error)(nil); !errors.As(err, &e) || !e.Passing || strings.Contains(e.Message, "t0ken") {
		t.Errorf("got %v, want one that passes", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = d.Decrypt(ctx, []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", master)), YAML, YAML); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestAWS(t *testing.T) {
	key := kms.NewMasterKey("arn:aws:kms:eu-west-1:123456789012:key/team", "", nil)
	key.EncryptedKey = base64.StdEncoding.EncodeToString([]byte("sealed"))
	encrypted := []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key))
	status := http.StatusOK
	d := decryptor(t, map[string][]byte{"sops.aws-kms": []byte("aws_access_key_id: AKIDTEAM\naws_secret_access_key: s3cr3t-key\n")})
	t.Setenv("AWS_CA_BUNDLE", "")
	d.aws = &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host != "kms.eu-west-1.amazonaws.com" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDTEAM/") {
			return nil, errors.New("unexpected request")
		}
		body := `{"__type": "AccessDeniedException", "message": "no"}`
		if status == http.StatusOK {
			body = `{"Plaintext": "` + base64.StdEncoding.EncodeToString(decrypttest.DataKey()) + `"}`
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}
	if got, err := d.Decrypt(t.Context(), encrypted, YAML, YAML); err != nil || string(got) != plain["a.yaml"] {
		t.Errorf("got %q, %v", got, err)
	}
	status = http.StatusBadRequest
	_, err := d.Decrypt(t.Context(), encrypted, YAML, YAML)
	if e := (*Error)(nil); !errors.As(err, &e) || e.Passing || !strings.Contains(e.Message, "AccessDeniedException") || strings.Contains(e.Message, "s3cr3t") {
		t.Errorf("refused: got %v", err)
	}
	key.Arn = "arn:aws:kms:x.example.com/#:1:key/a"
	if _, err = d.Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key)), YAML, YAML); err == nil || !strings.Contains(err.Error(), "the ARN is not valid") {
		t.Errorf("a region that is a host: got %v", err)
	}
}

func TestGCP(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "a@example.com", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	resource := "projects/p/locations/l/keyRings/r/cryptoKeys/k"
	key := gcpkms.NewMasterKeyFromResourceID(resource)
	key.EncryptedKey = base64.StdEncoding.EncodeToString([]byte("sealed"))
	encrypted := []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key))
	status := http.StatusOK
	d := decryptor(t, map[string][]byte{"sops.gcp-kms": account})
	d.client = func() *http.Client {
		return &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
			code, body := http.StatusOK, `{"access_token": "t0ken", "token_type": "Bearer", "expires_in": 60}`
			if r.URL.Host == "cloudkms.googleapis.com" {
				code, body = status, `{"plaintext": "`+base64.StdEncoding.EncodeToString(decrypttest.DataKey())+`"}`
				if r.URL.Path != "/v1/"+resource+":decrypt" || r.Header.Get("Authorization") != "Bearer t0ken" {
					code = http.StatusTeapot
				}
			}
			return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})}
	}
	if got, err := d.Decrypt(t.Context(), encrypted, YAML, YAML); err != nil || string(got) != plain["a.yaml"] {
		t.Errorf("got %q, %v", got, err)
	}
	for code, passing := range map[int]bool{http.StatusForbidden: false, http.StatusServiceUnavailable: true, http.StatusFound: true} {
		status = code
		_, err := d.Decrypt(t.Context(), encrypted, YAML, YAML)
		if e := (*Error)(nil); !errors.As(err, &e) || e.Passing != passing || strings.Contains(e.Message, "t0ken") {
			t.Errorf("%d: got %v", code, err)
		}
	}
	key.ResourceID = "projects/../locations/l/keyRings/r/cryptoKeys/k"
	if _, err = d.Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key)), YAML, YAML); err == nil || !strings.Contains(err.Error(), "resource id is not valid") {
		t.Errorf("got %v", err)
	}
}

// The path of a Vault key cannot be used to reach something else with the token.
func TestVaultPaths(t *testing.T) {
	address, _ := vault(t, http.StatusOK)
	d := decryptor(t, map[string][]byte{"sops.vault-token": []byte("t0ken")})
	d.client = func() *http.Client { return &http.Client{} }
	for _, engine := range []string{"../sys", "transit/../../sys", "transit?x=", "/transit", ""} {
		key := hcvault.NewMasterKey(address, engine, "team")
		key.EncryptedKey = "vault:v1:x"
		_, err := d.Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key)), YAML, YAML)
		if err == nil || !strings.Contains(err.Error(), "address of the key is not valid") {
			t.Errorf("%q: got %v", engine, err)
		}
	}
}

func TestAzureVaultsOnly(t *testing.T) {
	for address, want := range map[string]bool{
		"https://team.vault.azure.net": true, "https://team.vault.azure.net/": true, "http://team.vault.azure.net": false,
		"https://team.vault.azure.net.example.com": false, "https://x@team.vault.azure.net": false, "https://team.vault.azure.net:8080": false, "https://169.254.169.254": false,
	} {
		if got := isAzureVault(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	key := azkv.NewMasterKey("https://evil.example.com", "k", "v")
	key.EncryptedKey = "x"
	_, err := decryptor(t, map[string][]byte{"sops.azure-kv": []byte("tenantId: a\nclientId: b\nclientSecret: c\n")}).Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key)), YAML, YAML)
	if err == nil || !strings.Contains(err.Error(), "not that of an Azure key vault") {
		t.Errorf("got %v", err)
	}
}

// Keys stay in memory: nothing is taken from the environment or from disk, and no program is run.
func TestNothingElseIsUsed(t *testing.T) {
	key, home := decrypttest.Age(t), t.TempDir()
	t.Setenv("SOPS_AGE_KEY", string(key.Private))
	t.Setenv("HOME", home)
	t.Setenv("PATH", home)
	t.Setenv("SOPS_AGE_KEY_CMD", "touch "+home+"/ran")
	if _, err := exec.LookPath("gpg"); err == nil {
		t.Fatal("there is a gpg")
	}
	for _, key := range []decrypttest.Key{key, decrypttest.PGP(t)} {
		encrypted := []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key.Master))
		if _, err := decryptor(t, nil).Decrypt(t.Context(), encrypted, YAML, YAML); err == nil {
			t.Errorf("%s: decrypted with keys of the environment", key.Entry)
		}
		if _, err := decryptor(t, map[string][]byte{key.Entry: key.Private}).Decrypt(t.Context(), encrypted, YAML, YAML); err != nil {
			t.Errorf("%s: %v", key.Entry, err)
		}
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("left on disk: %v, %v", left, err)
	}
}

func FuzzDecrypt(f *testing.F) {
	key := decrypttest.Age(f)
	for name, text := range plain {
		if text != "" {
			f.Add([]byte(decrypttest.Encrypt(f, name, text, "", key.Master)), uint8(FormatOf(name)))
		}
	}
	d := decryptor(f, map[string][]byte{key.Entry: key.Private})
	f.Fuzz(func(t *testing.T, data []byte, format uint8) {
		in := Format(format % 5)
		if _, err := d.Decrypt(t.Context(), data, in, in); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error has the content: %v", err)
		}
	})
}
