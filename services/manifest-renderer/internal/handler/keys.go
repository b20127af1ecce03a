package handler

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/decrypt"
)

// decryptor reads the keys that spec.decryption refers to; nil when there is no such field. They stay in memory for this run alone.
func (h *Handler) decryptor(ctx context.Context, k *kustomizev1.Kustomization) (*decrypt.Decryptor, error) {
	d := k.Spec.Decryption
	if d == nil {
		return nil, nil
	}
	keys, err := h.keys(ctx, k)
	if err != nil {
		return nil, err
	}
	keys, err = h.Identities.As(keys, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, d.ServiceAccountName)
	if err != nil {
		return nil, fault(meta.BuildFailedReason, "spec.decryption.serviceAccountName: %w", err)
	}
	decryptor := decrypt.New(keys)
	decryptor.Vault = h.Vault
	return decryptor, nil
}

// keys reads the Secret of spec.decryption, which must be there, or the age keys for those that name none.
func (h *Handler) keys(ctx context.Context, k *kustomizev1.Kustomization) (decrypt.Keys, error) {
	d := k.Spec.Decryption
	key, parse := h.AgeSecret, decrypt.ParseAgeKeys
	if d.SecretRef != nil {
		key, parse = types.NamespacedName{Namespace: k.Namespace, Name: d.SecretRef.Name}, decrypt.ParseKeys
	}
	if key.Name == "" {
		return decrypt.Keys{}, nil
	}
	data, err := h.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return decrypt.Keys{}, fault(meta.BuildFailedReason, "decryption Secret '%s' not found", key)
	}
	if err != nil {
		return decrypt.Keys{}, fmt.Errorf("keys for decryption: %w", err)
	}
	keys, err := parse(data)
	if err != nil {
		return decrypt.Keys{}, fault(meta.BuildFailedReason, "decryption Secret '%s': %w", key, err)
	}
	return keys, nil
}
