package handler

import (
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
)

// faultError is a failure that belongs in the Kustomization's status: its spec, what it refers to, or its files are at fault.
type faultError struct {
	reason string
	error
}

func (e *faultError) Unwrap() error { return e.error }

func fault(reason, format string, args ...any) error {
	return &faultError{reason: reason, error: fmt.Errorf(format, args...)}
}

// passing says whether the same revision may render later without a change in Git or in the Kustomization.
func (e *faultError) passing() bool { return e.reason == meta.ArtifactFailedReason }
