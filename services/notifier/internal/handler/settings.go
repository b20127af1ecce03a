package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/expression"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/secretdata"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// sender makes the Provider's sender from what the Provider and its Secrets say now.
func (j *job) sender(ctx context.Context) (provider.Sender, provider.Traits, error) {
	if j.provider == nil {
		return nil, provider.Traits{}, fmt.Errorf("%w: Provider %s does not exist", provider.ErrSettings, j.run.Key)
	}
	if text := j.provider.Spec.CommitStatusExpr; text != "" {
		var err error
		if j.name, err = expression.CompileText(text, "event", "alert", "provider"); err != nil {
			return nil, provider.Traits{}, fmt.Errorf("%w: spec.commitStatusExpr: %w", provider.ErrSettings, err)
		}
	}
	s, err := j.settings(ctx)
	if err != nil {
		return nil, provider.Traits{}, err
	}
	return j.sending.New(s)
}

func (j *job) settings(ctx context.Context) (provider.Settings, error) {
	p := j.provider
	s := provider.Settings{
		Spec: p.Spec, Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Apps: j.sending.Apps, AllowPrivate: j.sending.AllowPrivate, NoLocal: j.sending.NoLocal,
	}
	var err error
	if ref := p.Spec.SecretRef; ref != nil {
		if s.Secret, err = j.secret(ctx, ref.Name); err != nil {
			return s, err
		}
	}
	if s.TLS, err = j.tls(ctx, s.Secret); err != nil {
		return s, err
	}
	if s.Proxy, err = j.proxy(ctx, s.Secret); err != nil {
		return s, err
	}
	if j.sending.Cloud != nil {
		s.Cloud = j.sending.Cloud(p, s.Proxy)
	}
	return s, nil
}

// secret reads a Secret of the Provider's namespace.
func (j *job) secret(ctx context.Context, name string) (map[string][]byte, error) {
	data, err := j.env.Cluster.Secret(ctx, types.NamespacedName{Namespace: j.provider.Namespace, Name: name})
	if err != nil && kube.IsMissingOrForbidden(err) {
		return nil, fmt.Errorf("%w: %w", provider.ErrSettings, err)
	}
	return data, err
}

// tls reads spec.certSecretRef; without one, the Secret itself may hold an authority.
func (j *job) tls(ctx context.Context, secret map[string][]byte) (config *tls.Config, err error) {
	ref := j.provider.Spec.CertSecretRef
	if ref == nil {
		config, _, err = secretdata.TLS(secret)
		if errors.Is(err, secretdata.ErrNoTLS) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: Secret %s: %w", provider.ErrSettings, j.provider.Spec.SecretRef.Name, err)
		}
		return config, nil
	}
	data, err := j.secret(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	if config, _, err = secretdata.TLS(data); err != nil {
		return nil, fmt.Errorf("%w: Secret %s: %w", provider.ErrSettings, ref.Name, err)
	}
	return config, nil
}

// proxy reads spec.proxySecretRef, or in the old ways the Secret's key proxy and spec.proxy.
func (j *job) proxy(ctx context.Context, secret map[string][]byte) (*url.URL, error) {
	if ref := j.provider.Spec.ProxySecretRef; ref != nil {
		data, err := j.secret(ctx, ref.Name)
		if err != nil {
			return nil, err
		}
		u, err := secretdata.Proxy(data)
		if err != nil {
			return nil, fmt.Errorf("%w: Secret %s: %w", provider.ErrSettings, ref.Name, err)
		}
		return u, nil
	}
	text := strings.TrimSpace(string(secret["proxy"]))
	if text == "" {
		text = j.provider.Spec.Proxy
	}
	if text == "" {
		return nil, nil
	}
	u, err := secretdata.Proxy(map[string][]byte{"address": []byte(text)})
	if err != nil {
		return nil, fmt.Errorf("%w: the proxy's %w", provider.ErrSettings, err)
	}
	return u, nil
}
