package handler

import (
	"errors"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/verify"
)

// storageError is a failure of the artifact store, which is not git's.
type storageError struct{ error }

func (e *storageError) Unwrap() error { return e.error }

// failure is an error as conditions tell it.
type failure struct {
	condition string
	status    metav1.ConditionStatus
	reason    string
	stalled   bool
}

// classify finds Flux's words for an error.
func classify(err error) failure {
	var own *specError
	var storage *storageError
	var include *includeError
	var unverified *verify.Error
	switch {
	case errors.As(err, &unverified):
		return failure{sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, unverified.Reason, unverified.Stalled}
	case errors.As(err, &include) && include.reason == reasonCopy:
		return failure{sourcev1.StorageOperationFailedCondition, metav1.ConditionTrue, reasonCopy, false}
	case errors.As(err, &include):
		return failure{sourcev1.IncludeUnavailableCondition, metav1.ConditionTrue, include.reason, false}
	case errors.As(err, &storage):
		return failure{sourcev1.StorageOperationFailedCondition, metav1.ConditionTrue, sourcev1.StorageOperationFailedCondition, false}
	case errors.As(err, &own):
		return failure{sourcev1.FetchFailedCondition, metav1.ConditionTrue, own.reason, own.stalled}
	}
	return failure{sourcev1.FetchFailedCondition, metav1.ConditionTrue, git.Reason(err), git.Stalled(err)}
}

// mark writes a failure in place of those that were told before.
func (f failure) mark(conditions *[]metav1.Condition, generation int64, message string) {
	clearFailures(conditions)
	apimeta.SetStatusCondition(conditions, metav1.Condition{
		Type: f.condition, Status: f.status, ObservedGeneration: generation, Reason: f.reason, Message: message,
	})
}

// clearFailures removes what earlier runs told of failures. That the present artifact is verified stays.
func clearFailures(conditions *[]metav1.Condition) {
	for _, kind := range []string{sourcev1.FetchFailedCondition, sourcev1.IncludeUnavailableCondition, sourcev1.StorageOperationFailedCondition} {
		apimeta.RemoveStatusCondition(conditions, kind)
	}
	if apimeta.IsStatusConditionFalse(*conditions, sourcev1.SourceVerifiedCondition) {
		apimeta.RemoveStatusCondition(conditions, sourcev1.SourceVerifiedCondition)
	}
}
