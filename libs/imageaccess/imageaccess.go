// Package imageaccess reads from an ImageRepository, and the objects that it names, how its image is reached: Secrets, the pull secrets
// of a ServiceAccount, or the identity that a cloud knows a workload by. registry-scanner lists tags with it, and whoever looks up what
// a tag points at does so in the same way.
package imageaccess

import (
	"context"
	"fmt"
	"sync"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/cache"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/secretdata"
)

// maxTokens bounds the cache of what clouds issued.
const maxTokens = 1000

// Error is a fault of what the spec names, with the reason that Flux gives it.
type Error struct {
	Reason  string
	Stalled bool // nothing changes before the spec or the settings do
	error
}

func (e *Error) Unwrap() error { return e.error }

func failed(err error) error {
	return &Error{Reason: imagev1.AuthenticationFailedReason, error: fmt.Errorf("failed to configure authentication options: %w", err)}
}

// Resolver finds how images are reached. It is for concurrent use.
type Resolver struct {
	cluster *kube.Cluster
	others  bool
	cloud   *cache.TokenCache

	mu      sync.Mutex
	ambient map[string]ambient // by provider
}

// New makes a Resolver. others lets objects name a ServiceAccount with whose identity a cloud is asked: the feature gate
// ObjectLevelWorkloadIdentity of Flux.
func New(cluster *kube.Cluster, others bool) (*Resolver, error) {
	if others {
		auth.EnableObjectLevelWorkloadIdentity() // the library's switch is one for the process
	}
	cloud, err := cache.NewTokenCache(maxTokens)
	if err != nil {
		return nil, fmt.Errorf("make the cache of tokens: %w", err)
	}
	return &Resolver{cluster: cluster, others: others, cloud: cloud, ambient: map[string]ambient{}}, nil
}

// Access reads how the image of an ImageRepository is reached. An *Error is the object's fault; any other error is the API server's.
func (r *Resolver) Access(ctx context.Context, repo *imagev1.ImageRepository, image registry.Image) (registry.Access, error) {
	access := registry.Access{Insecure: repo.Spec.Insecure}
	var err error
	if ref := repo.Spec.CertSecretRef; ref != nil {
		if err := r.read(ctx, repo, ref.Name, func(data map[string][]byte) error {
			access.TLS, access.TLSID, err = secretdata.TLS(data)
			return err
		}); err != nil {
			return access, err
		}
	}
	if ref := repo.Spec.ProxySecretRef; ref != nil {
		if err := r.read(ctx, repo, ref.Name, func(data map[string][]byte) error {
			access.Proxy, err = secretdata.Proxy(data)
			return err
		}); err != nil {
			return access, err
		}
	}
	access.Credential, err = r.credential(ctx, repo, image, access)
	return access, err
}

func (r *Resolver) credential(ctx context.Context, repo *imagev1.ImageRepository, image registry.Image, access registry.Access) (registry.Credential, error) {
	provider := repo.GetProvider()
	switch {
	case provider != "generic" && repo.Spec.ServiceAccountName != "" && !r.others:
		return nil, &Error{meta.FeatureGateDisabledReason, true, fmt.Errorf(
			"the identity of a service account is asked for, which needs the setting --object-level-workload-identity (feature gate %s)", auth.FeatureGateObjectLevelWorkloadIdentity)}
	case repo.Spec.SecretRef != nil:
		return r.fromSecret(ctx, repo, image)
	case provider != "generic":
		return r.newCloud(repo, image, access)
	case repo.Spec.ServiceAccountName != "":
		return r.fromServiceAccount(ctx, repo, image)
	}
	return nil, nil
}

func (r *Resolver) fromSecret(ctx context.Context, repo *imagev1.ImageRepository, image registry.Image) (registry.Credential, error) {
	var found registry.Credential
	err := r.read(ctx, repo, repo.Spec.SecretRef.Name, func(data map[string][]byte) error {
		config, err := registry.DockerConfigFromSecret(data)
		if err != nil {
			return err
		}
		if found, err = config.Find(image); err == nil && found == nil {
			err = fmt.Errorf("it has no login for %s", image.Host())
		}
		return err
	})
	return found, err
}

// fromServiceAccount takes the login of the first pull secret that has one; none is fine.
func (r *Resolver) fromServiceAccount(ctx context.Context, repo *imagev1.ImageRepository, image registry.Image) (registry.Credential, error) {
	var account corev1.ServiceAccount
	key := types.NamespacedName{Namespace: repo.Namespace, Name: repo.Spec.ServiceAccountName}
	if err := r.cluster.Client.Get(ctx, key, &account); err != nil {
		return nil, classify(fmt.Errorf("read service account %s: %w", key, err))
	}
	for _, ref := range account.ImagePullSecrets {
		var found registry.Credential
		if err := r.read(ctx, repo, ref.Name, func(data map[string][]byte) error {
			config, err := registry.DockerConfigFromSecret(data)
			if err != nil {
				return err
			}
			found, err = config.Find(image)
			return err
		}); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

// read reads a Secret of the object's namespace; what use says of its data is the object's fault.
func (r *Resolver) read(ctx context.Context, repo *imagev1.ImageRepository, name string, use func(map[string][]byte) error) error {
	key := types.NamespacedName{Namespace: repo.Namespace, Name: name}
	data, err := r.cluster.Secret(ctx, key)
	if err != nil {
		return classify(err)
	}
	if err := use(data); err != nil {
		return failed(fmt.Errorf("secret %s: %w", key, err))
	}
	return nil
}

// classify tells an object that is not there, or that we may not read, from an API server that is away.
func classify(err error) error {
	if kube.IsMissingOrForbidden(err) {
		return failed(err)
	}
	return err
}
