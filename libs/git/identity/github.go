package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The keys of a Secret with a GitHub App.
const (
	keyAppID          = "githubAppID"
	keyOwner          = "githubAppInstallationOwner"
	keyInstallationID = "githubAppInstallationID"
	keyPrivateKey     = "githubAppPrivateKey"
	keyBaseURL        = "githubAppBaseURL"
)

// GitHubUsername goes with an installation's token.
const GitHubUsername = "x-access-token"

const githubAPI = "https://api.github.com"

// ErrConfiguration says that the Secret does not describe a GitHub App.
var ErrConfiguration = errors.New("invalid GitHub App")

// GitHubApp is an App that is installed for an organization or a user.
type GitHubApp struct {
	// API is the address of GitHub's API.
	API *url.URL

	id, owner, installation string
	key                     *rsa.PrivateKey
	fingerprint             string // of all the above
}

// IsGitHubApp reports whether a Secret describes an App.
func IsGitHubApp(data map[string][]byte) bool { return len(data[keyAppID]) > 0 }

// NewGitHubApp reads a Secret. The error is ErrConfiguration and names keys, not values.
func NewGitHubApp(data map[string][]byte) (*GitHubApp, error) {
	text := func(key string) string { return strings.TrimSpace(string(data[key])) }
	a := &GitHubApp{id: text(keyAppID), owner: text(keyOwner), installation: text(keyInstallationID)}
	if !isNumber(a.id) {
		return nil, fmt.Errorf("%w: '%s' is no number", ErrConfiguration, keyAppID)
	}
	if (a.owner == "") == (a.installation == "") {
		return nil, fmt.Errorf("%w: exactly one of '%s' and '%s' is needed", ErrConfiguration, keyOwner, keyInstallationID)
	}
	if a.installation != "" && !isNumber(a.installation) {
		return nil, fmt.Errorf("%w: '%s' is no number", ErrConfiguration, keyInstallationID)
	}
	var err error
	if a.key, err = parseKey(data[keyPrivateKey]); err != nil {
		return nil, fmt.Errorf("%w: '%s' is no RSA private key in PEM", ErrConfiguration, keyPrivateKey)
	}
	base := text(keyBaseURL)
	if base == "" {
		base = githubAPI
	}
	if a.API, err = url.Parse(base); err != nil || a.API.Host == "" || a.API.Scheme != "http" && a.API.Scheme != "https" {
		return nil, fmt.Errorf("%w: '%s' is no URL", ErrConfiguration, keyBaseURL)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", a.id, a.owner, a.installation, base, data[keyPrivateKey]))
	a.fingerprint = hex.EncodeToString(sum[:])
	return a, nil
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 63)
	return err == nil
}

func parseKey(data []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("no RSA key")
	}
	return key, nil
}

// claim is a JSON web token that says who the App is, for two minutes and from
// half a minute ago, as clocks differ.
func (a *GitHubApp) claim(now time.Time) (string, error) {
	from := now.Add(-30 * time.Second).Unix()
	claims, err := json.Marshal(map[string]any{"iss": a.id, "iat": from, "exp": from + 150})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign as GitHub App: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// issue asks for a token of the installation.
func (a *GitHubApp) issue(ctx context.Context, client *http.Client, now time.Time) (string, time.Time, error) {
	claim, err := a.claim(now)
	if err != nil {
		return "", time.Time{}, err
	}
	installation, err := a.findInstallation(ctx, client, claim)
	if err != nil {
		return "", time.Time{}, err
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	err = a.call(ctx, client, claim, http.MethodPost, "/app/installations/"+installation+"/access_tokens", &answer)
	if err == nil && answer.Token == "" {
		err = errors.New("the answer holds none")
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("get a token of the GitHub App's installation: %w", err)
	}
	return answer.Token, answer.ExpiresAt, nil
}

// findInstallation looks up where the App is installed: for an organization, or else for a user.
func (a *GitHubApp) findInstallation(ctx context.Context, client *http.Client, claim string) (string, error) {
	if a.installation != "" {
		return a.installation, nil
	}
	var errs []error
	for _, kind := range []string{"/orgs/", "/users/"} {
		var answer struct {
			ID json.Number `json:"id"`
		}
		err := a.call(ctx, client, claim, http.MethodGet, kind+url.PathEscape(a.owner)+"/installation", &answer)
		if err == nil && isNumber(answer.ID.String()) {
			return answer.ID.String(), nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find the GitHub App's installation of the owner: %w", errors.Join(errs...))
}

// maxAnswer bounds what the API answers.
const maxAnswer = 1 << 20

// call asks the API. Redirects are not followed: they would take the claim elsewhere.
func (a *GitHubApp) call(ctx context.Context, client *http.Client, claim, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.API.String(), "/")+path, bytes.NewReader(nil))
	if err != nil {
		return errors.New("malformed address")
	}
	request.Header.Set("Authorization", "Bearer "+claim)
	request.Header.Set("Accept", "application/vnd.github+json")
	straight := *client
	straight.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := straight.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s answered %d to %s", a.API.Host, response.StatusCode, path)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("%s answered what is no JSON", a.API.Host)
	}
	return nil
}
