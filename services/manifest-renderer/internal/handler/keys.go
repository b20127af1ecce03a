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
	if d.ServiceAccountName != "" {
		return nil, fault(meta.BuildFailedReason, "spec.decryption.serviceAccountName is not served by this version of Sluice: "+
			"use credentials in the Secret of spec.decryption.secretRef, or the identity of manifest-renderer itself")
	}
	key, parse := h.AgeSecret, decrypt.ParseAgeKeys
	if d.SecretRef != nil {
		key, parse = types.NamespacedName{Namespace: k.Namespace, Name: d.SecretRef.Name}, decrypt.ParseKeys
	}
	if key.Name == "" {
		return decrypt.New(decrypt.Keys{}), nil
	}
	data, err := h.Cluster.Secret(ctx, key)
	if apierrors.IsNotFound(err) {
		return nil, fault(meta.BuildFailedReason, "decryption Secret '%s' not found", key)
	}
	if err != nil {
		return nil, fmt.Errorf("keys for decryption: %w", err)
	}
	keys, err := parse(data)
	if err != nil {
		return nil, fault(meta.BuildFailedReason, "decryption Secret '%s': %w", key, err)
	}
	return decrypt.New(keys), nil
}
