package imageaccess

import (
	"context"
	"fmt"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"github.com/fluxcd/pkg/cache"

	"github.com/sluice-cd/sluice/libs/registry"
)

// cloud is the login that a cloud issues for an identity, for a short time.
type cloud struct {
	id       string
	image    string
	provider auth.ArtifactRegistryCredentialsProvider
	options  []auth.Option
}

func (r *Resolver) newCloud(repo *imagev1.ImageRepository, image registry.Image, access registry.Access) (registry.Credential, error) {
	c := &cloud{id: repo.GetProvider(), image: image.String(), options: []auth.Option{
		auth.WithClient(r.cluster.Client), auth.WithServiceAccountNamespace(repo.Namespace),
		auth.WithCache(*r.cloud, cache.InvolvedObject{
			Kind: imagev1.ImageRepositoryKind, Namespace: repo.Namespace, Name: repo.Name, Operation: cache.OperationReconcile,
		}),
	}}
	if name := repo.Spec.ServiceAccountName; name != "" {
		c.id += " " + repo.Namespace + "/" + name
		c.options = append(c.options, auth.WithServiceAccountName(name))
	}
	if access.Proxy != nil {
		c.options = append(c.options, auth.WithProxyURL(*access.Proxy))
	}
	switch repo.GetProvider() {
	case aws.ProviderName:
		c.provider = aws.Provider{}
	case azure.ProviderName:
		c.provider = azure.Provider{}
	case gcp.ProviderName:
		c.provider = gcp.Provider{}
	default:
		return nil, failed(fmt.Errorf("provider %q is not known", repo.GetProvider()))
	}
	if _, err := c.provider.ParseArtifactRepository(c.image); err != nil {
		return nil, failed(err)
	}
	return c, nil
}

// ambientTime bounds a login that nobody asked for: outside of its cloud there is nobody to ask.
const ambientTime = 10 * time.Second

// ambientRest is how long such a login is not tried again after it failed.
const ambientRest = 5 * time.Minute

// ambient is when logins by a provider may be tried again, and why.
type ambient struct {
	until time.Time
	err   error
}

// Ambient finds a way to an image for which nobody named a login: on a registry of a cloud with this process's own identity there, as a node
// of the cloud would pull it, otherwise without. reason says why there is no login where there could be one.
func (r *Resolver) Ambient(ctx context.Context, image registry.Image) (access registry.Access, reason error) {
	for _, name := range []string{aws.ProviderName, azure.ProviderName, gcp.ProviderName} {
		repo := &imagev1.ImageRepository{Spec: imagev1.ImageRepositorySpec{Provider: name}}
		login, err := r.newCloud(repo, image, access)
		if err != nil { // it is none of this cloud's registries
			continue
		}
		if reason = r.try(ctx, name, login); reason == nil {
			access.Credential = login
		}
		return access, reason
	}
	return access, nil
}

// try logs in, unless that failed a little while ago.
func (r *Resolver) try(ctx context.Context, provider string, login registry.Credential) error {
	r.mu.Lock()
	last := r.ambient[provider]
	r.mu.Unlock()
	if time.Now().Before(last.until) {
		return last.err
	}
	limited, cancel := context.WithTimeout(ctx, ambientTime)
	defer cancel()
	_, err := login.Login(limited)
	if err != nil && ctx.Err() == nil {
		r.mu.Lock()
		r.ambient[provider] = ambient{time.Now().Add(ambientRest), err}
		r.mu.Unlock()
	}
	return err
}

// ID is that of the identity: what is issued for it changes all the time.
func (c *cloud) ID() string { return c.id }

// Login asks the cloud, unless what it issued last will still do.
func (c *cloud) Login(ctx context.Context) (registry.Login, error) {
	issued, err := auth.GetArtifactRegistryCredentials(ctx, c.provider, c.image, c.options...)
	if err != nil {
		return registry.Login{}, failed(err)
	}
	config, err := issued.Authorization()
	if err != nil {
		return registry.Login{}, failed(err)
	}
	return registry.Login{
		Username: config.Username, Password: config.Password, IdentityToken: config.IdentityToken, RegistryToken: config.RegistryToken,
	}, nil
}
