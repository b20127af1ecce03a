package access

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/identity"
)

// Error is a fault of the object's spec or of what it refers to.
type Error struct {
	// Reason is the one that a condition gives.
	Reason string
	// Stalled is true where nothing changes before the spec does.
	Stalled bool
	err     error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.err }

// Secrets reads the data of Secrets.
type Secrets interface {
	Secret(ctx context.Context, key types.NamespacedName) (map[string][]byte, error)
}

// Reader finds out how to get into repositories. It is for concurrent use.
type Reader struct {
	Secrets Secrets
	// Mirrors lend the client for requests to the hosts of repositories.
	Mirrors *git.Mirrors
	// Identity issues the credentials that spec.provider asks for.
	Identity *identity.Issuer
}

// Source reads from the spec of a GitRepository, and the Secrets it names, where and
// how to fetch and push.
func (r *Reader) Source(ctx context.Context, repo *sourcev1.GitRepository) (git.Source, error) {
	src := git.Source{URL: repo.Spec.URL, Ref: git.RefFrom(repo.Spec.Reference)}
	var secret map[string][]byte
	if ref := repo.Spec.SecretRef; ref != nil {
		key := types.NamespacedName{Namespace: repo.Namespace, Name: ref.Name}
		var err error
		if secret, err = r.Secrets.Secret(ctx, key); err != nil {
			if apierrors.IsNotFound(err) {
				err = &Error{Reason: sourcev1.AuthenticationFailedReason, err: err}
			}
			return src, err
		}
		src.CredentialID = key.String()
	}
	var err error
	if src.Auth, err = git.AuthFromSecret(repo.Spec.URL, secret); err != nil {
		return src, err
	}
	if src.Auth.Proxy, err = r.proxy(ctx, repo); err != nil {
		return src, err
	}
	return src, r.identify(ctx, repo, secret, &src)
}

// proxy reads the address of the proxy, with its credentials, from the Secret that spec.proxySecretRef names.
func (r *Reader) proxy(ctx context.Context, repo *sourcev1.GitRepository) (string, error) {
	if repo.Spec.ProxySecretRef == nil {
		return "", nil
	}
	key := types.NamespacedName{Namespace: repo.Namespace, Name: repo.Spec.ProxySecretRef.Name}
	data, err := r.Secrets.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return "", &Error{Reason: sourcev1.AuthenticationFailedReason, err: fmt.Errorf("failed to configure proxy options: %w", err)}
	}
	if err != nil {
		return "", err
	}
	address, err := proxyURL(data)
	if err != nil {
		return "", &Error{Reason: sourcev1.AuthenticationFailedReason, err: fmt.Errorf("failed to configure proxy options: secret %s: %w", key, err)}
	}
	return address, nil
}

func proxyURL(data map[string][]byte) (string, error) {
	u, err := url.Parse(strings.TrimSpace(string(data["address"])))
	switch {
	case len(data["address"]) == 0:
		return "", errors.New("'address' is missing")
	case err != nil || u.Host == "":
		return "", errors.New("'address' is no URL")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return "", errors.New("'address' must begin with http, https or socks5")
	}
	if user, password := string(data["username"]), string(data["password"]); user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String(), nil
}
