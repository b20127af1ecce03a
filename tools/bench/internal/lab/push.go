package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/gittest"
	"github.com/sluice-cd/sluice/tools/bench/internal/workload"
)

// Push is a commit that is ready to land.
type Push struct {
	lab      *Lab
	commit   string
	Revision string // as status has it
}

// PreparePush writes a commit on top of the branch, which does not move yet.
func (l *Lab) PreparePush(ctx context.Context, files map[string]string) (*Push, error) {
	commit, err := l.repository.Commit(ctx, gittest.Commit{Branch: "prepared", Parent: l.head, Files: files})
	if err != nil {
		return nil, err
	}
	return &Push{l, commit, revision(commit)}, nil
}

func revision(commit string) string { return workload.Branch + "@sha1:" + commit }

// Revision is the one of the branch now.
func (l *Lab) Revision() string { return revision(l.head) }

// Land moves the branch to the commit and asks for a reconciliation of the source, as a webhook does. It returns when the clock
// started, which is before both.
func (p *Push) Land(ctx context.Context) (started time.Time, err error) {
	started = time.Now()
	if err := p.lab.repository.SetRef(ctx, "refs/heads/"+workload.Branch, p.commit); err != nil {
		return started, err
	}
	p.lab.head = p.commit
	return started, p.lab.requestFetch(ctx)
}

// requestFetch sets Flux's annotation on the GitRepository.
func (l *Lab) requestFetch(ctx context.Context) error {
	l.requests++
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		meta.ReconcileRequestAnnotation: strconv.Itoa(l.requests),
	}}})
	if err != nil {
		return err
	}
	repo := &sourcev1.GitRepository{}
	repo.Namespace, repo.Name = workload.FleetNamespace, workload.RepositoryName
	if err := l.Client.Patch(ctx, repo, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("request a reconciliation of the source: %w", err)
	}
	return nil
}
