package decrypt

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"github.com/fluxcd/pkg/cache"
	"golang.org/x/oauth2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Identities let Kustomizations ask the clouds' key management services as a service account of theirs, for which a cloud vouches. They are
// safe for concurrent use.
type Identities struct {
	cluster client.Client
	tokens  *cache.TokenCache
	allowed bool
	// Default is the service account, in the Kustomization's namespace, for those that name none; empty for the identity of the process.
	Default string
}

// maxTokens bounds the cache of credentials.
const maxTokens = 1000

// NewIdentities makes identities from the service accounts of a cluster. allowed says whether the installation lets Kustomizations have
// identities of their own.
func NewIdentities(cluster client.Client, allowed bool) (*Identities, error) {
	if allowed {
		auth.EnableObjectLevelWorkloadIdentity() // the library's switch is one for the process
	}
	tokens, err := cache.NewTokenCache(maxTokens)
	if err != nil {
		return nil, fmt.Errorf("make the cache of credentials: %w", err)
	}
	return &Identities{cluster: cluster, tokens: tokens, allowed: allowed}, nil
}

// ErrNotAllowed says that the installation does not let Kustomizations have identities of their own.
var ErrNotAllowed = errors.New("the identity of a service account is asked for, which this installation does not allow (--object-level-workload-identity)")

// As returns the keys for a Kustomization that names a service account, or none where that is empty. What the Secret holds for a cloud is
// used before any identity.
func (i *Identities) As(k Keys, kustomization types.NamespacedName, account string) (Keys, error) {
	if account == "" {
		account = i.Default
	}
	if account == "" {
		return k, nil
	}
	if !i.allowed {
		return Keys{}, ErrNotAllowed
	}
	who := cache.InvolvedObject{Kind: "Kustomization", Namespace: kustomization.Namespace, Name: kustomization.Name, Operation: cache.OperationReconcile}
	k.account = &identity{name: account, options: []auth.Option{
		auth.WithClient(i.cluster), auth.WithServiceAccountName(account), auth.WithServiceAccountNamespace(kustomization.Namespace),
		auth.WithCache(*i.tokens, who),
	}}
	return k, nil
}

// identity asks clouds for credentials as a service account. Nobody is asked before a file needs it.
type identity struct {
	name    string
	options []auth.Option
}

func (i *identity) with(more ...auth.Option) []auth.Option {
	return append(append([]auth.Option{}, i.options...), more...)
}

func (i *identity) aws(ctx context.Context, region string) awssdk.CredentialsProvider {
	return aws.NewCredentialsProvider(ctx, i.with(auth.WithSTSRegion(region))...)
}

func (i *identity) azure(ctx context.Context) azcore.TokenCredential {
	return azure.NewTokenCredential(ctx, i.options...)
}

func (i *identity) gcp(ctx context.Context) oauth2.TokenSource {
	return gcp.NewTokenSource(ctx, i.options...)
}
