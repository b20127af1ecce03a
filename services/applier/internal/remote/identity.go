package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"github.com/fluxcd/pkg/auth/generic"
	"github.com/fluxcd/pkg/cache"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Identities get into clusters by what this cluster, or a cloud, vouches for. It is safe for concurrent use.
type Identities struct {
	cluster client.Client
	tokens  *cache.TokenCache
	// Default is the service account, in the Kustomization's namespace, for ConfigMaps that name none; empty for applier's own identity.
	Default string
	// Others lets Kustomizations act as service accounts, and not only as applier.
	others bool
}

// maxTokens bounds the cache.
const maxTokens = 1000

// NewIdentities makes identities from service accounts of this cluster. others says whether Kustomizations may name accounts.
func NewIdentities(cluster client.Client, others bool, fallback string) (*Identities, error) {
	if others {
		auth.EnableObjectLevelWorkloadIdentity() // the library's switch is one for the process
	}
	tokens, err := cache.NewTokenCache(maxTokens)
	if err != nil {
		return nil, fmt.Errorf("make the cache of tokens: %w", err)
	}
	return &Identities{cluster: cluster, tokens: tokens, others: others, Default: fallback}, nil
}

// providers are those of the field provider.
var providers = map[string]auth.RESTConfigProvider{
	generic.ProviderName: generic.Provider{}, aws.ProviderName: aws.Provider{}, azure.ProviderName: azure.Provider{}, gcp.ProviderName: gcp.Provider{},
}

// ErrOthers says that the installation does not let Kustomizations have identities of their own.
var ErrOthers = errors.New("the identity of a service account is asked for, which this installation does not allow (--object-level-workload-identity)")

// Config makes a client's configuration of what a ConfigMap in a namespace says. Each request gets a token that is still good.
func (i *Identities) Config(ctx context.Context, namespace string, data map[string]string) (*rest.Config, error) {
	provider, ok := providers[data[meta.KubeConfigKeyProvider]]
	if !ok {
		return nil, fmt.Errorf("provider %.50q is not one of %s", data[meta.KubeConfigKeyProvider], strings.Join(slices.Sorted(maps.Keys(providers)), ", "))
	}
	options, err := i.options(namespace, data)
	if err != nil {
		return nil, err
	}
	found, err := auth.GetRESTConfig(ctx, provider, options...)
	if err != nil {
		return nil, fmt.Errorf("get into the cluster by provider %s: %w", provider.GetName(), err)
	}
	config := &rest.Config{Host: found.Host, TLSClientConfig: rest.TLSClientConfig{CAData: found.CAData}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &bearer{next, provider, options} })
	return config, nil
}

func (i *Identities) options(namespace string, data map[string]string) ([]auth.Option, error) {
	account := data[meta.KubeConfigKeyServiceAccountName]
	if account == "" {
		account = i.Default
	}
	if account != "" && !i.others {
		return nil, ErrOthers
	}
	audiences := strings.Fields(data[meta.KubeConfigKeyAudiences])
	if account == "" && len(audiences) > 0 {
		// Who writes the ConfigMap would get a token of applier's for the audience, and the address, of their choice.
		return nil, errors.New("audiences need serviceAccountName")
	}
	if account == "" && data[meta.KubeConfigKeyAddress] != "" && data[meta.KubeConfigKeyProvider] != generic.ProviderName {
		// A token of a cloud is good for more than one cluster: applier's own goes only to the address that the cloud says. A token of
		// provider generic is good for its address alone.
		return nil, errors.New("address needs serviceAccountName")
	}
	options := []auth.Option{
		auth.WithClient(i.cluster), auth.WithServiceAccountNamespace(namespace),
		auth.WithCache(*i.tokens, cache.InvolvedObject{Kind: "Kustomization", Namespace: namespace, Operation: cache.OperationReconcile}),
	}
	if account != "" {
		options = append(options, auth.WithServiceAccountName(account))
	}
	if len(audiences) > 0 {
		options = append(options, auth.WithAudiences(audiences...))
	}
	for key, option := range map[string]func(string) auth.Option{
		meta.KubeConfigKeyCluster: auth.WithClusterResource, meta.KubeConfigKeyAddress: auth.WithClusterAddress, meta.KubeConfigKeyCACert: auth.WithCAData,
	} {
		if value, ok := data[key]; ok {
			options = append(options, option(value))
		}
	}
	return options, nil
}

// bearer adds a token to each request.
type bearer struct {
	next     http.RoundTripper
	provider auth.RESTConfigProvider
	options  []auth.Option
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	found, err := auth.GetRESTConfig(r.Context(), b.provider, b.options...)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as RoundTripper asks for; the request is not sent
		}
		return nil, fmt.Errorf("get a token of provider %s: %w", b.provider.GetName(), err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+found.BearerToken)
	return b.next.RoundTrip(r)
}
