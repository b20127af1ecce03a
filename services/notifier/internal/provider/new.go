package provider

import (
	"fmt"

	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"
)

// New makes the sender of a Provider. Its error wraps ErrSettings and holds no secret.
//
// Most services are asked by one plain POST, for which client has what their libraries have not: who may be connected to, what the answer
// means for the outbox, and that errors hold no secrets. So no library is in use here unless a constructor says why.
func New(s Settings) (Sender, Traits, error) {
	make, known := types()[s.Spec.Type]
	if !known {
		return nil, Traits{}, fmt.Errorf("%w: type %q is not known", ErrSettings, s.Spec.Type)
	}
	return make(s)
}

// constructor makes the sender of one type.
type constructor func(Settings) (Sender, Traits, error)

func types() map[string]constructor {
	return map[string]constructor{
		// Chats.
		notifyv1.DiscordProvider:    newDiscord,
		notifyv1.GoogleChatProvider: newGoogleChat,
		notifyv1.LarkProvider:       newLark,
		notifyv1.Matrix:             newMatrix,
		notifyv1.MSTeamsProvider:    newMSTeams,
		notifyv1.RocketProvider:     newRocket,
		notifyv1.SlackProvider:      newSlack,
		notifyv1.TelegramProvider:   newTelegram,
		notifyv1.WebexProvider:      newWebex,
		notifyv1.ZulipProvider:      newZulip,

		// Incidents and what happened.
		notifyv1.AlertManagerProvider: newAlertmanager,
		notifyv1.DataDogProvider:      newDatadog,
		notifyv1.GrafanaProvider:      newGrafana,
		notifyv1.OpsgenieProvider:     newOpsgenie,
		notifyv1.PagerDutyProvider:    newPagerDuty,
		notifyv1.SentryProvider:       newSentry,

		// Commit statuses.
		notifyv1.AzureDevOpsProvider:     newAzureDevOps,
		notifyv1.BitbucketProvider:       newBitbucket,
		notifyv1.BitbucketServerProvider: newBitbucketServer,
		notifyv1.GiteaProvider:           newGitea,
		notifyv1.GitHubProvider:          newGitHub,
		notifyv1.GitLabProvider:          newGitLab,

		// Comments on requests.
		notifyv1.GiteaPullRequestCommentProvider:   newGiteaComments,
		notifyv1.GitHubPullRequestCommentProvider:  newGitHubComments,
		notifyv1.GitLabMergeRequestCommentProvider: newGitLabComments,

		// Machines.
		notifyv1.AzureEventHubProvider:  newEventHub,
		notifyv1.GenericHMACProvider:    newGenericHMAC,
		notifyv1.GenericProvider:        newGeneric,
		notifyv1.GitHubDispatchProvider: newGitHubDispatch,
		notifyv1.GooglePubSubProvider:   newPubSub,
		notifyv1.NATSProvider:           newNATS,
		notifyv1.OTELProvider:           newOTEL,
	}
}
