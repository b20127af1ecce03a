package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/verify"
)

// wanted is what the spec asks for, with what it refers to read.
type wanted struct {
	source   git.Source
	keys     *verify.Keys // nil without spec.verify
	included []*meta.Artifact
	// inputs is a digest of all that decides, beside the commit, what is in the
	// artifact and whether it may be.
	inputs string
	// verified says what signatures were found good.
	verified string
}

// read reads the spec and the objects that it names.
func (w *Watcher) read(ctx context.Context, repo *sourcev1.GitRepository) (*wanted, error) {
	source, err := w.source(ctx, repo)
	if err != nil {
		return nil, err
	}
	want := &wanted{source: source}
	if want.included, err = w.includes(ctx, repo); err != nil {
		return nil, err
	}
	if want.keys, err = w.keys(ctx, repo); err != nil {
		return nil, err
	}
	want.inputs = want.digest(repo)
	return want, nil
}

// keys reads the public keys of spec.verify.
func (w *Watcher) keys(ctx context.Context, repo *sourcev1.GitRepository) (*verify.Keys, error) {
	if repo.Spec.Verification == nil {
		return nil, nil
	}
	data, err := w.Cluster.Secret(ctx, types.NamespacedName{Namespace: repo.Namespace, Name: repo.Spec.Verification.SecretRef.Name})
	if err != nil {
		return nil, verify.NewError(verify.ReasonKeys, fmt.Errorf("public keys secret error: %w", err))
	}
	keys := verify.NewKeys(data)
	return &keys, nil
}

func (want *wanted) digest(repo *sourcev1.GitRepository) string {
	in := struct {
		URL        string
		Ignore     *string
		Sparse     []string
		Submodules bool                            `json:",omitempty"`
		Include    []sourcev1.GitRepositoryInclude `json:",omitempty"`
		Included   []string                        `json:",omitempty"`
		Verify     string                          `json:",omitempty"`
	}{URL: repo.Spec.URL, Ignore: repo.Spec.Ignore, Sparse: repo.Spec.SparseCheckout, Submodules: repo.Spec.RecurseSubmodules, Include: repo.Spec.Include}
	for _, a := range want.included {
		in.Included = append(in.Included, a.Revision+" "+a.Digest)
	}
	if want.keys != nil {
		in.Verify = string(repo.Spec.Verification.GetMode()) + " " + want.keys.Digest()
	}
	data, err := json.Marshal(in)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// verify checks the signatures that the spec asks for. It returns what to say of
// it; nothing when nothing was asked for.
func (want *wanted) verify(repo *sourcev1.GitRepository, snapshot *git.Snapshot) (string, error) {
	if want.keys == nil {
		return "", nil
	}
	return verify.Revision(*want.keys, repo.Spec.Verification, verify.Subject{
		Hash: snapshot.Commit.Hash, Commit: snapshot.Commit.Raw,
		Reference: snapshot.Revision.FullName(), Tag: snapshot.Commit.RawTag,
	})
}
