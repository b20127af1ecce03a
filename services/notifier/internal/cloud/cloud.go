// Package cloud gets tokens of clouds for Providers: in the name of the ServiceAccount that one names, or of the process. Which service
// gets to see a token is decided where it is used.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"github.com/fluxcd/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// maxTokens bounds the cache.
const maxTokens = 1000

// ErrOthers says that the installation does not let Providers have identities of their own.
var ErrOthers = errors.New("spec.serviceAccountName needs the setting --object-level-workload-identity (feature gate " + auth.FeatureGateObjectLevelWorkloadIdentity + ")")

// Issuer gets tokens and keeps them. It is for concurrent use.
type Issuer struct {
	cluster client.Client
	others  bool
	tokens  *cache.TokenCache
}

// New makes an Issuer. The cluster's client gets tokens of ServiceAccounts, where others allows identities beside the process's own.
func New(cluster client.Client, others bool) (*Issuer, error) {
	if others {
		auth.EnableObjectLevelWorkloadIdentity() // the library's switch is one for the process
	}
	tokens, err := cache.NewTokenCache(maxTokens)
	if err != nil {
		return nil, fmt.Errorf("make the cache of tokens: %w", err)
	}
	return &Issuer{cluster: cluster, others: others, tokens: tokens}, nil
}

// For gives tokens in the name of a Provider. proxy leads to the cloud; nil for the environment's.
func (i *Issuer) For(p *notifyv1.Provider, proxy *url.URL) provider.Cloud {
	return &identity{issuer: i, namespace: p.Namespace, name: p.Name, account: p.Spec.ServiceAccountName, proxy: proxy}
}

type identity struct {
	issuer                   *Issuer
	namespace, name, account string
	proxy                    *url.URL
}

// Token asks the cloud, unless what it issued last will still do.
func (i *identity) Token(ctx context.Context, name, scope string) (string, time.Time, error) {
	if i.account != "" && !i.issuer.others {
		return "", time.Time{}, ErrOthers
	}
	var from auth.Provider
	switch name {
	case azure.ProviderName:
		from = azure.Provider{}
	case gcp.ProviderName:
		from = gcp.Provider{}
	default:
		return "", time.Time{}, fmt.Errorf("no cloud is called %q", name)
	}
	found, err := auth.GetAccessToken(ctx, from, i.options(scope)...)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("get a token from %s: %w", name, err)
	}
	switch token := found.(type) {
	case *azure.Token:
		return token.Token, token.ExpiresOn, nil
	case *gcp.Token:
		return token.AccessToken, token.Expiry, nil
	}
	return "", time.Time{}, fmt.Errorf("%s gives tokens of an unknown form", name)
}

// options have the scope for Azure; Google's tokens are for all that the identity may do.
func (i *identity) options(scope string) []auth.Option {
	options := []auth.Option{
		auth.WithClient(i.issuer.cluster), auth.WithServiceAccountNamespace(i.namespace), auth.WithScopes(scope),
		auth.WithCache(*i.issuer.tokens, cache.InvolvedObject{Kind: notifyv1.ProviderKind, Namespace: i.namespace, Name: i.name, Operation: "post"}),
	}
	if i.account != "" {
		options = append(options, auth.WithServiceAccountName(i.account))
	}
	if i.proxy != nil {
		options = append(options, auth.WithProxyURL(*i.proxy))
	}
	return options
}
