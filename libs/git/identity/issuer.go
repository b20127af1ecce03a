package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/cache"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Issuer gets credentials and keeps them. It is for concurrent use.
type Issuer struct {
	cluster client.Client
	others  bool
	tokens  *tokens
	cloud   *cache.TokenCache
}

// NewIssuer makes an Issuer. The cluster's client gets tokens of service accounts, where identities other than the process's own are
// allowed.
func NewIssuer(cluster client.Client, others bool) (*Issuer, error) {
	if others {
		auth.EnableObjectLevelWorkloadIdentity() // the library's switch is one for the process
	}
	cloud, err := cache.NewTokenCache(maxTokens)
	if err != nil {
		return nil, fmt.Errorf("make the cache of tokens: %w", err)
	}
	return &Issuer{cluster: cluster, others: others, tokens: &tokens{now: time.Now, known: map[string]*token{}}, cloud: cloud}, nil
}

// GitHub returns the token of an App's installation, the password of GitHubUsername.
func (i *Issuer) GitHub(ctx context.Context, app *GitHubApp, client *http.Client) (string, error) {
	return i.tokens.get(ctx, app.fingerprint, func(ctx context.Context) (string, time.Time, error) {
		return app.issue(ctx, client, i.tokens.now())
	})
}

// Request is for a credential of a cloud.
type Request struct {
	// Provider is azure or aws.
	Provider string
	URL      *url.URL
	// Namespace and ServiceAccount are whose identity it is; without ServiceAccount it is that of the process.
	Namespace, ServiceAccount string
	// Proxy may be nil.
	Proxy *url.URL
	// Name is the object that asks, for the cache's records.
	Name string
}

// Credentials are a username and password or a bearer token.
type Credentials struct{ Username, Password, BearerToken string }

// String hides everything.
func (Credentials) String() string { return "credentials" }

// GoString hides everything.
func (Credentials) GoString() string { return "credentials" }

// ErrOthers says that the installation does not let objects have identities of their own.
var ErrOthers = errors.New("the identity of a service account is asked for, which this installation does not allow")

// Cloud returns what a cloud issues for the identity.
func (i *Issuer) Cloud(ctx context.Context, r Request) (Credentials, error) {
	if r.ServiceAccount != "" && !i.others {
		return Credentials{}, ErrOthers
	}
	options := []auth.Option{
		auth.WithClient(i.cluster), auth.WithServiceAccountNamespace(r.Namespace), auth.WithGitURL(*r.URL),
		auth.WithCache(*i.cloud, cache.InvolvedObject{
			Kind: sourcev1.GitRepositoryKind, Namespace: r.Namespace, Name: r.Name, Operation: cache.OperationReconcile,
		}),
	}
	if r.ServiceAccount != "" {
		options = append(options, auth.WithServiceAccountName(r.ServiceAccount))
	}
	if r.Proxy != nil {
		options = append(options, auth.WithProxyURL(*r.Proxy))
	}
	var provider auth.GitCredentialsProvider = azure.Provider{}
	if r.Provider == sourcev1.GitProviderAWS {
		provider = aws.Provider{}
	}
	found, err := auth.GetGitCredentials(ctx, provider, options...)
	if err != nil {
		return Credentials{}, fmt.Errorf("get credentials from %s: %w", r.Provider, err)
	}
	return Credentials{Username: found.Username, Password: found.Password, BearerToken: found.BearerToken}, nil
}
