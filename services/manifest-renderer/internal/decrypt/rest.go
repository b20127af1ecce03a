package decrypt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// Vault and Google are asked by plain HTTP: one request each, where their own clients cost 15 MB of memory.

const (
	gcpScope  = "https://www.googleapis.com/auth/cloudkms"
	gcpServer = "https://cloudkms.googleapis.com/v1/"
)

// gcpCredential takes keys of service accounts alone: other kinds of credentials
// can name files to read and programs to run.
func gcpCredential(value []byte) ([]byte, error) {
	if _, err := google.JWTConfigFromJSON(value, gcpScope); err != nil {
		return nil, failed("it is no JSON key of a service account")
	}
	return value, nil
}

var gcpKey = regexp.MustCompile(`^projects/[\w:-][\w.:-]*/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+$`)

func (s *service) openGCP(k *keyservice.GcpKmsKey, data []byte) ([]byte, error) {
	if !gcpKey.MatchString(k.GetResourceId()) {
		return nil, failed("the resource id is not valid")
	}
	ctx := context.WithValue(s.ctx, oauth2.HTTPClient, s.client())
	tokens, err := s.keys.gcpTokens(ctx)
	if err != nil {
		return nil, failed("the Secret holds no sops.gcp-kms, and this process has no Google identity")
	}
	var answer struct{ Plaintext []byte }
	err = post(ctx, oauth2.NewClient(ctx, tokens), gcpServer+k.GetResourceId()+":decrypt", nil, map[string]string{"ciphertext": string(data)}, &answer)
	return s.asked(answer.Plaintext, err)
}

func (k *Keys) gcpTokens(ctx context.Context) (oauth2.TokenSource, error) {
	if k.gcp == nil && k.account != nil {
		return k.account.gcp(ctx), nil
	}
	if k.gcp == nil {
		found, err := google.FindDefaultCredentials(ctx, gcpScope)
		if err != nil {
			return nil, err
		}
		return found.TokenSource, nil
	}
	c, err := google.JWTConfigFromJSON(k.gcp, gcpScope)
	if err != nil {
		return nil, err
	}
	return c.TokenSource(ctx), nil
}

// vaultPath is what the path of an engine and the name of a key may be: the token can do more than to decrypt, and the path comes from a file.
var vaultPath = regexp.MustCompile(`^[\w-][\w.-]*(/[\w-][\w.-]*)*$`)

func (s *service) openVault(k *keyservice.VaultKey, data []byte) ([]byte, error) {
	u, err := url.Parse(k.GetVaultAddress())
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || !vaultPath.MatchString(k.GetEnginePath()) || !vaultPath.MatchString(k.GetKeyName()) {
		return nil, failed("the address of the key is not valid")
	}
	token, err := s.vaultToken(u)
	if err != nil {
		return nil, err
	}
	var answer struct{ Data struct{ Plaintext []byte } }
	err = post(s.ctx, s.client(), u.JoinPath("v1", k.GetEnginePath(), "decrypt", k.GetKeyName()).String(),
		http.Header{"X-Vault-Token": {token}, "X-Vault-Request": {"true"}}, map[string]string{"ciphertext": string(data)}, &answer)
	return s.asked(answer.Data.Plaintext, err)
}

// Vault is a token for one Vault, for files of everybody whose Secret holds none.
type Vault struct{ Address, Token string }

// vaultToken is that of the Secret, or that of the process. The address stands in a file, and who writes that must not get the token of the
// process sent to a server of their own: it goes to the one Vault that the process was told.
func (s *service) vaultToken(u *url.URL) (string, error) {
	if s.keys.vaultToken != "" {
		return s.keys.vaultToken, nil
	}
	if s.vault.Token == "" {
		return "", failed("the Secret holds no sops.vault-token")
	}
	own, err := url.Parse(s.vault.Address)
	if err != nil || own.Host == "" || own.Scheme != u.Scheme || !strings.EqualFold(own.Host, u.Host) {
		return "", failed("the Secret holds no sops.vault-token, and the VAULT_TOKEN of this installation is for the Vault at VAULT_ADDR alone")
	}
	return s.vault.Token, nil
}

// answerError is an answer other than 200.
type answerError struct{ code int }

func (e *answerError) Error() string { return fmt.Sprintf("the server answered %d", e.code) }

// post sends in as JSON and reads the answer into out. It follows no redirects: those would take credentials elsewhere.
func post(ctx context.Context, client *http.Client, address string, header http.Header, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return failed("the address is not valid")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := own.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &answerError{answer.StatusCode}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(out); err != nil {
		return failed("the server's answer is not valid")
	}
	return nil
}
