package decrypt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/kms"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/controlplane"
	"github.com/sluice-cd/sluice/libs/controlplane/controlplanetest"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt/decrypttest"
)

// clouds answer in the place of those that give out credentials, by what Kubernetes says of who asks.
type clouds struct {
	t        *testing.T
	subjects []string // who asked
}

func playClouds(t *testing.T) *clouds {
	c := &clouds{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	http.DefaultTransport = &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	return c
}

func (c *clouds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		c.t.Error(err)
	}
	switch {
	case r.Host == "sts.eu-west-1.amazonaws.com" && r.Form.Get("RoleArn") == "arn:aws:iam::123456789012:role/team":
		c.note(r.Form.Get("WebIdentityToken"), "sts.amazonaws.com")
		fmt.Fprint(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
			`<AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>s3cr3t</SecretAccessKey><SessionToken>s3ssion</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>`+
			`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
	case r.Host == "sts.googleapis.com":
		c.note(r.Form.Get("subject_token"), "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k")
		answerJSON(w, map[string]any{"access_token": "g00gle", "token_type": "Bearer", "expires_in": 3600, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		answerJSON(w, map[string]any{"token_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/token",
			"authorization_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/authorize", "issuer": "https://login.microsoftonline.com/tenant/v2.0"})
	case strings.Contains(r.URL.Path, "/discovery/instance"):
		answerJSON(w, map[string]any{"tenant_discovery_endpoint": "https://login.microsoftonline.com/tenant/v2.0/.well-known/openid-configuration", "metadata": []any{
			map[string]any{"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net", "aliases": []string{"login.microsoftonline.com"}}}})
	case r.Host == "login.microsoftonline.com" && r.Form.Get("client_id") == "client":
		c.note(r.Form.Get("client_assertion"), "api://AzureADTokenExchange")
		answerJSON(w, map[string]any{"access_token": "4zure", "token_type": "Bearer", "expires_in": 3600})
	default:
		http.Error(w, `{"error": "access_denied"}`, http.StatusForbidden)
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// note reads of a token of Kubernetes who has it, and that it is for nobody else.
func (c *clouds) note(token, audience string) {
	var claims struct {
		Subject  string   `json:"sub"`
		Audience []string `json:"aud"`
	}
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(payload, &claims) != nil || len(claims.Audience) != 1 || claims.Audience[0] != audience {
		c.t.Errorf("token for %v, want %s: %v", claims.Audience, audience, err)
	}
	c.subjects = append(c.subjects, claims.Subject)
}

func TestAccountsAskClouds(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // the library would refuse the client of this test
	plane := controlplanetest.ForTest(t, controlplane.Options{})
	cluster, err := client.New(plane.RESTConfig(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "opener", Annotations: map[string]string{
		"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/team", "azure.workload.identity/client-id": "client", "azure.workload.identity/tenant-id": "tenant",
		"gcp.auth.fluxcd.io/workload-identity-provider": "projects/1/locations/global/workloadIdentityPools/p/providers/k",
	}}}
	bare := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bare"}}
	for _, a := range []*corev1.ServiceAccount{account, bare} {
		if err := cluster.Create(t.Context(), a); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	identities, err := NewIdentities(cluster, true)
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: "app"}
	as := func(secret map[string][]byte, account string) *Decryptor {
		t.Helper()
		k, err := ParseKeys(secret)
		if err == nil {
			k, err = identities.As(k, key, account)
		}
		if err != nil {
			t.Fatal(err)
		}
		return New(k)
	}
	const subject = "system:serviceaccount:default:opener"

	t.Run("aws", func(t *testing.T) {
		c := playClouds(t)
		for name, test := range map[string]struct {
			secret  map[string][]byte
			account string
			want    string
			asked   int
		}{
			"account":                       {nil, "opener", "AKIDROLE", 1},
			"the Secret is before accounts": {map[string][]byte{"sops.aws-kms": []byte("aws_access_key_id: AKIDTEAM\naws_secret_access_key: s3cr3t\n")}, "opener", "AKIDTEAM", 0},
		} {
			c.subjects = nil
			d := as(test.secret, test.account)
			d.aws = &http.Client{Transport: awsKey(test.want)}
			got, err := d.Decrypt(t.Context(), encryptedForAWS(t), YAML, YAML)
			if err != nil || string(got) != plain["a.yaml"] {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
			if len(c.subjects) != test.asked || test.asked > 0 && c.subjects[0] != subject {
				t.Errorf("%s: asked by %v", name, c.subjects)
			}
		}
		for name, account := range map[string]string{"an account that is not there": "nobody", "one without a role": "bare"} {
			_, err := as(nil, account).Decrypt(t.Context(), encryptedForAWS(t), YAML, YAML)
			if e := (*Error)(nil); !errors.As(err, &e) || !e.Passing || !strings.Contains(e.Message, "service account") {
				t.Errorf("%s: got %v, want one that passes", name, err)
			}
		}
	})
	t.Run("gcp", func(t *testing.T) {
		c := playClouds(t)
		d := as(nil, "opener")
		d.client = func() *http.Client { return &http.Client{Transport: googleKey("g00gle")} }
		key := gcpkms.NewMasterKeyFromResourceID("projects/p/locations/l/keyRings/r/cryptoKeys/k")
		key.EncryptedKey = base64.StdEncoding.EncodeToString([]byte("sealed"))
		got, err := d.Decrypt(t.Context(), []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key)), YAML, YAML)
		if err != nil || string(got) != plain["a.yaml"] || len(c.subjects) != 1 || c.subjects[0] != subject {
			t.Errorf("got %q, %v, asked by %v", got, err, c.subjects)
		}
	})
	t.Run("azure", func(t *testing.T) {
		c := playClouds(t)
		d := as(nil, "opener")
		token, err := d.keys.account.azure(t.Context()).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
		if err != nil || token.Token != "4zure" || len(c.subjects) != 1 || c.subjects[0] != subject {
			t.Errorf("got %q, %v, asked by %v", token.Token, err, c.subjects)
		}
	})
}

func TestAccountsAreASetting(t *testing.T) {
	identities, err := NewIdentities(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identities.As(Keys{}, types.NamespacedName{}, "opener"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("got %v", err)
	}
	identities.allowed = true
	one, err1 := identities.As(Keys{}, types.NamespacedName{}, "one")
	other, err2 := identities.As(Keys{}, types.NamespacedName{}, "other")
	if err1 != nil || err2 != nil || one.Digest() == other.Digest() {
		t.Errorf("digests %q and %q, %v, %v", one.Digest(), other.Digest(), err1, err2)
	}
	if k, err := identities.As(Keys{}, types.NamespacedName{}, ""); err != nil || k.account != nil {
		t.Errorf("without an account: %v", err)
	}
}

func encryptedForAWS(t *testing.T) []byte {
	key := kms.NewMasterKey("arn:aws:kms:eu-west-1:123456789012:key/team", "", nil)
	key.EncryptedKey = base64.StdEncoding.EncodeToString([]byte("sealed"))
	return []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", key))
}

// awsKey opens the data key for credentials.
func awsKey(id string) answering {
	return func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+id+"/") {
			return nil, errors.New("unexpected request")
		}
		return opened(r, "application/x-amz-json-1.1", "Plaintext"), nil
	}
}

// googleKey opens the data key for a token.
func googleKey(token string) answering {
	return func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			return nil, errors.New("unexpected request")
		}
		return opened(r, "application/json", "plaintext"), nil
	}
}

func opened(r *http.Request, kind, field string) *http.Response {
	body := `{"` + field + `": "` + base64.StdEncoding.EncodeToString(decrypttest.DataKey()) + `"}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func TestVaultOfTheProcess(t *testing.T) {
	address, master := vault(t, http.StatusOK)
	encrypted := []byte(decrypttest.Encrypt(t, "a.yaml", plain["a.yaml"], "", master))
	for name, test := range map[string]struct {
		vault Vault
		want  string // in the error
	}{
		"its Vault":           {Vault{address, "t0ken"}, ""},
		"with a path":         {Vault{address + "/", "t0ken"}, ""},
		"another Vault":       {Vault{"https://vault.example.com", "t0ken"}, "for the Vault at VAULT_ADDR alone"},
		"without TLS":         {Vault{strings.Replace(address, "http://", "https://", 1), "t0ken"}, "for the Vault at VAULT_ADDR alone"},
		"without an address":  {Vault{"", "t0ken"}, "for the Vault at VAULT_ADDR alone"},
		"without a token":     {Vault{address, ""}, "the Secret holds no sops.vault-token"},
		"a token that is bad": {Vault{address, "wr0ng"}, "403"},
	} {
		d := decryptor(t, nil)
		d.Vault, d.client = test.vault, func() *http.Client { return &http.Client{} }
		got, err := d.Decrypt(t.Context(), encrypted, YAML, YAML)
		if test.want == "" && (err != nil || string(got) != plain["a.yaml"]) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "t0ken")) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
