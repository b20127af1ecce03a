package decrypt

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/kms"
	"golang.org/x/oauth2"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/libs/guard"
)

func awsCredentials(value []byte) (aws.CredentialsProvider, error) {
	var c struct {
		ID      string `json:"aws_access_key_id"`
		Secret  string `json:"aws_secret_access_key"`
		Session string `json:"aws_session_token"`
	}
	if yaml.Unmarshal(value, &c) != nil || c.ID == "" || c.Secret == "" {
		return nil, failed("aws_access_key_id and aws_secret_access_key are needed")
	}
	return credentials.NewStaticCredentialsProvider(c.ID, c.Secret, c.Session), nil
}

// azureCredential reads the names of fields that Azure's own tools write, too.
func azureCredential(value []byte) (azcore.TokenCredential, error) {
	var c struct {
		TenantID, ClientID, ClientSecret             string
		ClientCertificate, ClientCertificatePassword string
		ClientCertificateSendChain                   bool
		Tenant, AppID, Password                      string
	}
	if yaml.Unmarshal(value, &c) != nil {
		return nil, failed("it is no YAML of an Azure identity")
	}
	var credential azcore.TokenCredential
	var err error
	switch {
	case c.TenantID != "" && c.ClientID != "" && c.ClientSecret != "":
		credential, err = azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, nil)
	case c.Tenant != "" && c.AppID != "" && c.Password != "":
		credential, err = azidentity.NewClientSecretCredential(c.Tenant, c.AppID, c.Password, nil)
	case c.TenantID != "" && c.ClientID != "" && c.ClientCertificate != "":
		credential, err = azureCertificate(c.TenantID, c.ClientID, c.ClientCertificate, c.ClientCertificatePassword, c.ClientCertificateSendChain)
	case c.ClientID != "":
		credential, err = azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(c.ClientID)})
	default:
		return nil, failed("it holds none of the sets of fields that make an Azure identity")
	}
	if err != nil {
		return nil, failed("it makes no Azure identity")
	}
	return credential, nil
}

func azureCertificate(tenant, client, certificate, password string, sendChain bool) (azcore.TokenCredential, error) {
	certs, key, err := azidentity.ParseCertificates([]byte(certificate), []byte(password))
	if err != nil {
		return nil, err
	}
	return azidentity.NewClientCertificateCredential(tenant, client, certs, key,
		&azidentity.ClientCertificateCredentialOptions{SendCertificateChain: sendChain})
}

// keyARN is stricter than the library, which puts the region into an address.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]+:(key|alias)/[A-Za-z0-9/_-]+$`)

func (s *service) openAWS(k *keyservice.KmsKey, data []byte) ([]byte, error) {
	if !keyARN.MatchString(k.GetArn()) {
		return nil, failed("the ARN is not valid")
	}
	values := make(map[string]*string, len(k.GetContext()))
	for name, value := range k.GetContext() {
		values[name] = &value
	}
	key := kms.NewMasterKey(k.GetArn(), k.GetRole(), values)
	key.EncryptedKey = string(data)
	if from := s.awsCredentials(k.GetArn()); from != nil {
		kms.NewCredentialsProvider(from).ApplyToMasterKey(key)
	}
	if s.aws != nil {
		kms.NewHTTPClient(s.aws).ApplyToMasterKey(key)
	}
	return s.asked(key.DecryptContext(s.ctx))
}

// awsCredentials are those of the Secret, or of the account; nil for the identity of the process.
func (s *service) awsCredentials(arn string) aws.CredentialsProvider {
	if s.keys.aws == nil && s.keys.account != nil {
		return s.keys.account.aws(s.ctx, strings.Split(arn, ":")[3]) // keyARN has matched
	}
	return s.keys.aws
}

// azureVaults are the domains of Azure's key vaults.
var azureVaults = []string{
	".vault.azure.net", ".managedhsm.azure.net", ".vault.azure.cn", ".managedhsm.azure.cn", ".vault.usgovcloudapi.net", ".managedhsm.usgovcloudapi.net",
}

func (s *service) openAzure(k *keyservice.AzureKeyVaultKey, data []byte) ([]byte, error) {
	if !isAzureVault(k.GetVaultUrl()) {
		return nil, failed("the address is not that of an Azure key vault")
	}
	credential := s.keys.azure
	if credential == nil && s.keys.account != nil {
		credential = s.keys.account.azure(s.ctx)
	}
	if credential == nil {
		var err error
		if credential, err = azureAmbient(); err != nil {
			return nil, failed("the Secret holds no sops.azure-kv, and this process has no Azure identity")
		}
	}
	key := azkv.NewMasterKey(k.GetVaultUrl(), k.GetName(), k.GetVersion())
	key.EncryptedKey = string(data)
	azkv.NewTokenCredential(credential).ApplyToMasterKey(key)
	return s.asked(key.DecryptContext(s.ctx))
}

func isAzureVault(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" {
		return false
	}
	for _, domain := range azureVaults {
		if strings.HasSuffix(u.Hostname(), domain) {
			return true
		}
	}
	return false
}

// azureAmbient is the identity of the pod, or of the machine. The library's own
// default would also try programs.
func azureAmbient() (azcore.TokenCredential, error) {
	if workload, err := azidentity.NewWorkloadIdentityCredential(nil); err == nil {
		return workload, nil
	}
	return azidentity.NewManagedIdentityCredential(nil)
}

// refusal tells an answer that says no, or that the request is wrong, from a
// service that did not answer.
func refusal(err error) (refused bool, reason string) {
	if a := (*answerError)(nil); errors.As(err, &a) && isRefusal(a.code) {
		return true, a.Error()
	}
	if r := (*oauth2.RetrieveError)(nil); errors.As(err, &r) && r.Response != nil && isRefusal(r.Response.StatusCode) {
		return true, fmt.Sprintf("Google gave no token: %d", r.Response.StatusCode)
	}
	if a := (*azcore.ResponseError)(nil); errors.As(err, &a) && isRefusal(a.StatusCode) {
		return true, fmt.Sprintf("Azure answered %d %.60s", a.StatusCode, a.ErrorCode)
	}
	a, response := (smithy.APIError)(nil), (*smithyhttp.ResponseError)(nil)
	if errors.As(err, &a) && errors.As(err, &response) && isRefusal(response.HTTPStatusCode()) && !strings.Contains(a.ErrorCode(), "Throttl") {
		return true, fmt.Sprintf("AWS answered %.60s", a.ErrorCode())
	}
	if guarded := (*guard.Error)(nil); errors.As(err, &guarded) {
		return true, guarded.Error()
	}
	return false, ""
}

func isRefusal(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}

var quoted = regexp.MustCompile(`(?s)\n.*|"[^"]*"`)

// brief is the first line of what a service's client says, without what it quotes.
func brief(err error) string {
	return fmt.Sprintf("%.200s", quoted.ReplaceAllString(err.Error(), "…"))
}
