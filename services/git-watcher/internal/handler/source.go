package handler

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
)

// specError is a fault of the object's spec or of what it refers to.
type specError struct {
	reason  string
	stalled bool // nothing changes before the spec does
	error
}

func (e *specError) Unwrap() error { return e.error }

// source reads from the spec, and the Secrets it names, where and how to fetch.
func (w *Watcher) source(ctx context.Context, repo *sourcev1.GitRepository) (git.Source, error) {
	src := git.Source{URL: repo.Spec.URL, Ref: git.RefFrom(repo.Spec.Reference)}
	var secret map[string][]byte
	if ref := repo.Spec.SecretRef; ref != nil {
		key := types.NamespacedName{Namespace: repo.Namespace, Name: ref.Name}
		var err error
		if secret, err = w.Cluster.Secret(ctx, key); err != nil {
			if apierrors.IsNotFound(err) {
				err = &specError{reason: sourcev1.AuthenticationFailedReason, error: err}
			}
			return src, err
		}
		src.CredentialID = key.String()
	}
	var err error
	if src.Auth, err = git.AuthFromSecret(repo.Spec.URL, secret); err != nil {
		return src, err
	}
	if src.Auth.Proxy, err = w.proxy(ctx, repo); err != nil {
		return src, err
	}
	return src, w.identify(ctx, repo, secret, &src)
}

// proxy reads the address of the proxy, with its credentials, from the Secret that spec.proxySecretRef names.
func (w *Watcher) proxy(ctx context.Context, repo *sourcev1.GitRepository) (string, error) {
	if repo.Spec.ProxySecretRef == nil {
		return "", nil
	}
	key := types.NamespacedName{Namespace: repo.Namespace, Name: repo.Spec.ProxySecretRef.Name}
	data, err := w.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return "", &specError{reason: sourcev1.AuthenticationFailedReason, error: fmt.Errorf("failed to configure proxy options: %w", err)}
	}
	if err != nil {
		return "", err
	}
	address, err := proxyURL(data)
	if err != nil {
		return "", &specError{reason: sourcev1.AuthenticationFailedReason, error: fmt.Errorf("failed to configure proxy options: secret %s: %w", key, err)}
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
