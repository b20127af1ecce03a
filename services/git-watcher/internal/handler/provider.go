package handler

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/identity"
)

// identify gets the credentials that spec.provider asks for.
func (w *Watcher) identify(ctx context.Context, repo *sourcev1.GitRepository, secret map[string][]byte, src *git.Source) error {
	switch provider := repo.GetProvider(); provider {
	case sourcev1.GitProviderGitHub:
		return w.asGitHubApp(ctx, repo, secret, src)
	case sourcev1.GitProviderAzure, sourcev1.GitProviderAWS:
		return w.asWorkload(ctx, repo, src)
	case sourcev1.GitProviderGeneric:
		if identity.IsGitHubApp(secret) {
			return badProvider(false, fmt.Errorf("secretRef '%s/%s' has github app data but provider is not set to github", repo.Namespace, repo.Spec.SecretRef.Name))
		}
		return nil
	default:
		return badProvider(true, fmt.Errorf("provider %q is not known", provider))
	}
}

func badProvider(stalled bool, err error) error {
	return &specError{reason: sourcev1.InvalidProviderConfigurationReason, stalled: stalled, error: err}
}

func (w *Watcher) asGitHubApp(ctx context.Context, repo *sourcev1.GitRepository, secret map[string][]byte, src *git.Source) error {
	if !identity.IsGitHubApp(secret) {
		return badProvider(repo.Spec.SecretRef == nil, errors.New("secretRef with github app data must be specified when provider is set to github"))
	}
	app, err := identity.NewGitHubApp(secret)
	if err != nil {
		return badProvider(false, err)
	}
	client, err := w.Mirrors.HTTPClient(app.API, src.Auth)
	if err != nil {
		return err
	}
	token, err := w.Identity.GitHub(ctx, app, client)
	if err != nil {
		return &specError{reason: sourcev1.AuthenticationFailedReason, error: fmt.Errorf("failed to configure authentication options: %w", err)}
	}
	src.Auth.Username, src.Auth.Password, src.Auth.BearerToken = identity.GitHubUsername, token, ""
	return nil
}

func (w *Watcher) asWorkload(ctx context.Context, repo *sourcev1.GitRepository, src *git.Source) error {
	request := identity.Request{
		Provider: repo.Spec.Provider, Namespace: repo.Namespace, ServiceAccount: repo.Spec.ServiceAccountName, Name: repo.Name,
	}
	var err error
	if request.URL, err = url.Parse(src.URL); err != nil {
		return fmt.Errorf("%w: malformed", git.ErrURLInvalid)
	}
	if src.Auth.Proxy != "" {
		if request.Proxy, err = url.Parse(src.Auth.Proxy); err != nil {
			return errors.New("malformed address of the proxy")
		}
	}
	found, err := w.Identity.Cloud(ctx, request)
	if errors.Is(err, identity.ErrOthers) {
		return &specError{reason: meta.FeatureGateDisabledReason, stalled: true, error: err}
	}
	if err != nil {
		return &specError{reason: sourcev1.AuthenticationFailedReason, error: fmt.Errorf("failed to configure authentication options: %w", err)}
	}
	src.Auth.Username, src.Auth.Password, src.Auth.BearerToken = found.Username, found.Password, found.BearerToken
	src.CredentialID = request.Provider
	if request.ServiceAccount != "" {
		src.CredentialID += " " + request.Namespace + "/" + request.ServiceAccount
	}
	return nil
}
