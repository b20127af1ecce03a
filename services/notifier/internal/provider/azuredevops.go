package provider

import (
	"context"
	"fmt"
	"slices"

	"github.com/fluxcd/pkg/auth/azure"

	"github.com/sluice-cd/sluice/libs/githost"
)

const (
	azureDevOpsVersion = "7.1"
	azureDevOpsText    = 1024 // characters that the service takes for a description or a context's name
	// azureDevOpsGenre is the genre of statuses' contexts, the one that Flux has: policies of branches name it.
	azureDevOpsGenre = "fluxcd"
)

// newAzureDevOps sets commit statuses at Azure DevOps.
func newAzureDevOps(s Settings) (Sender, Traits, error) {
	by, err := azureDevOpsAuthority(s)
	if err != nil {
		return nil, Traits{}, err
	}
	f, err := newForge(s, githost.Azure, by)
	if err != nil {
		return nil, Traits{}, err
	}
	project, name, err := f.repository.Azure()
	if err != nil {
		return nil, Traits{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	a := azureDevOpsStatuses{forge: f, name: name}
	for _, p := range project {
		a.project = append(a.project, p)
	}
	return &statuses{host: a, nameLimit: azureDevOpsText, textLimit: azureDevOpsText}, statusTraits, nil
}

// azureDevOpsAuthority takes a personal access token, or else one of the workload's identity.
func azureDevOpsAuthority(s Settings) (authorize, error) {
	token, err := s.forgeToken()
	if token == "" {
		return azureDevOpsIdentity(s)
	}
	if err != nil {
		return nil, err
	}
	if s.Spec.ServiceAccountName != "" {
		return nil, fmt.Errorf("%w: a token in the Secret and spec.serviceAccountName exclude each other", ErrSettings)
	}
	return withBasic("", token), nil
}

// azureDevOpsIdentity takes tokens to Azure alone: the address is a user's choice, and whoever got the token could use it.
func azureDevOpsIdentity(s Settings) (authorize, error) {
	r, err := githost.Parse(githost.Azure, s.place())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	host := r.API(githost.Azure).Host
	if r.Scheme != "https" || host != "dev.azure.com" && !hasSuffix(host, []string{".visualstudio.com"}) {
		return nil, fmt.Errorf("%w: there is no token in the Secret, and one of the identity goes to Azure alone", ErrSettings)
	}
	return withCloud(s, azure.ProviderName, azure.ScopeDevOps)
}

type azureDevOpsStatuses struct {
	forge
	project []any
	name    string
}

// state calls a failure an error, as Flux does.
func (azureDevOpsStatuses) state(s State) string {
	switch s {
	case Progressing:
		return "pending"
	case Failed:
		return "error"
	case Superseded:
		return "notApplicable"
	}
	return "succeeded"
}

func (a azureDevOpsStatuses) path(commit string) string {
	return githost.Path(append(slices.Clone(a.project), "_apis", "git", "repositories", a.name, "commits", commit, "statuses")...)
}

type azureDevOpsStatus struct {
	ID          int64  `json:"id,omitempty"`
	State       string `json:"state"`
	Description string `json:"description"`
	TargetURL   string `json:"targetUrl,omitempty"`
	Context     struct {
		Genre string `json:"genre"`
		Name  string `json:"name"`
	} `json:"context"`
}

func (a azureDevOpsStatuses) last(ctx context.Context, commit, name string) (status, error) {
	var found struct {
		Value []azureDevOpsStatus `json:"value"`
	}
	err := a.call(ctx, "GET", a.path(commit), params("api-version", azureDevOpsVersion, "latestOnly", "true", "top", "1000"), nil, &found)
	if err != nil {
		return status{}, err
	}
	var newest status
	var id int64
	for _, f := range found.Value {
		if f.Context.Name == name && f.Context.Genre == azureDevOpsGenre && f.ID >= id {
			newest, id = status{state: f.State, description: f.Description}, f.ID
		}
	}
	return newest, nil
}

func (a azureDevOpsStatuses) set(ctx context.Context, commit string, s status, _ Message) error {
	in := azureDevOpsStatus{State: s.state, Description: s.description, TargetURL: s.url}
	in.Context.Genre, in.Context.Name = azureDevOpsGenre, s.name
	return a.call(ctx, "POST", a.path(commit), params("api-version", azureDevOpsVersion), in, nil)
}
