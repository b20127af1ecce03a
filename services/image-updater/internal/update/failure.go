package update

import (
	"errors"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/access"
	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// Reasons of conditions that Flux has no words for.
const (
	reasonProtected = "BranchProtected"
	reasonReadOnly  = "RepositoryReadOnly"
	reasonDeclined  = "PushDeclined"
	reasonOptions   = "PushOptionsRefused"
	reasonRaces     = "PushRacesLost"
	reasonRewind    = "PushWouldRewrite"
	reasonRequest   = "PullRequestFailed"
	// reasonIncomplete is that of a request that is open but lacks what was asked for: labels, reviewers, to be merged by itself.
	reasonIncomplete = "PullRequestIncomplete"
	// reasonPartial is that of a commit that is in the branch, and not at the ref of the refspec.
	reasonPartial = "PushIncomplete"
)

// kinds are the failures of git that have a reason of their own, the first that fits decides.
var kinds = []struct {
	kind    error
	reason  string
	stalled bool
}{
	{git.ErrAuthentication, sourcev1.AuthenticationFailedReason, false},
	{git.ErrHostKey, sourcev1.AuthenticationFailedReason, false},
	{git.ErrProtected, reasonProtected, false},
	{git.ErrReadOnly, reasonReadOnly, false},
	{git.ErrDeclined, reasonDeclined, false},
	{git.ErrOptions, reasonOptions, false},
	{git.ErrRaceLost, reasonRaces, false},
	{pullrequest.ErrUnauthorized, sourcev1.AuthenticationFailedReason, false},
	{pullrequest.ErrInvalid, automationv1.InvalidSourceConfigReason, true},
	{pullrequest.ErrNotFound, reasonRequest, false},
	{pullrequest.ErrUnsupported, reasonRequest, false},
	{pullrequest.ErrRefused, reasonRequest, false},
	{pullrequest.ErrExists, reasonRequest, false},
	{pullrequest.ErrUnavailable, reasonRequest, false},
	{branch.ErrRewind, reasonRewind, false},
	{branch.ErrInvalid, automationv1.InvalidSourceConfigReason, true},
	{git.ErrURLInvalid, automationv1.InvalidSourceConfigReason, true},
	{git.ErrRefInvalid, automationv1.InvalidSourceConfigReason, true},
}

// classify finds the reason that a condition gives for a failure, and whether nothing changes before the spec does.
func classify(err error) (reason string, stalled bool) {
	var spec *specError
	var own *access.Error
	var edits *editError
	var partial *branch.PartialError
	var incomplete *incompleteError
	switch {
	case errors.As(err, &incomplete):
		return reasonIncomplete, false
	case errors.As(err, &partial):
		return reasonPartial, false
	case errors.As(err, &spec):
		return spec.reason, spec.stalled
	case errors.As(err, &own):
		return own.Reason, own.Stalled
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.reason, k.stalled
		}
	}
	var limit *pullrequest.RateLimitError
	if errors.As(err, &limit) {
		return reasonRequest, false
	}
	if errors.As(err, &edits) {
		return automationv1.UpdateFailedReason, false
	}
	return automationv1.GitOperationFailedReason, false
}
