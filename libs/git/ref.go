package git

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

const (
	defaultBranch = "master"
	branchPrefix  = "refs/heads/"
	tagPrefix     = "refs/tags/"
	peelSuffix    = "^{}"
)

// Ref is what to follow. Later fields win over earlier ones; the zero value is
// the branch master. With Commit, Branch is the branch that must exist and gives
// the revision its name.
type Ref struct {
	Branch, Tag, SemVer, Name, Commit string
}

// RefFrom takes over spec.ref, which may be nil.
func RefFrom(r *sourcev1.GitRepositoryRef) Ref {
	if r == nil {
		return Ref{}
	}
	return Ref{Branch: r.Branch, Tag: r.Tag, SemVer: r.SemVer, Name: r.Name, Commit: r.Commit}
}

// check refuses what can never be resolved, and everything that is no ref name:
// it goes into a protocol and into file names of others.
func (r Ref) check() error {
	if r.Commit != "" && !wire.IsHash(strings.ToLower(r.Commit)) {
		return fmt.Errorf("%w: commit %q is not a full SHA-1", ErrRefInvalid, r.Commit)
	}
	if r.SemVer != "" {
		if _, err := semver.NewConstraint(r.SemVer); err != nil {
			return fmt.Errorf("%w: semver range %q: %w", ErrRefInvalid, r.SemVer, err)
		}
	}
	for _, name := range []string{prefixed(branchPrefix, r.Branch), prefixed(tagPrefix, r.Tag), strings.TrimSuffix(r.Name, peelSuffix)} {
		if name == "" {
			continue
		}
		if strings.HasPrefix(name, "-") || plumbing.ReferenceName(name).Validate() != nil {
			return fmt.Errorf("%w: %q is no name of a ref", ErrRefInvalid, name)
		}
	}
	return nil
}

func prefixed(prefix, name string) string {
	if name == "" {
		return ""
	}
	return prefix + name
}

// Revision is a commit and the ref that led to it.
type Revision struct {
	// Reference is a full ref name; empty for a commit asked for by its hash alone.
	Reference string
	// Hash is the commit.
	Hash string
	// Absolute revisions are written with the full name of the ref, as is
	// due where spec.ref.name is used.
	Absolute bool
}

// String is the revision as status.artifact.revision carries it: main@sha1:…,
// refs/pull/1/head@sha1:… or sha1:….
func (r Revision) String() string {
	digest := "sha1:" + r.Hash
	if r.Reference == "" {
		return digest
	}
	if r.Absolute {
		return r.Reference + "@" + digest
	}
	if parts := strings.SplitN(r.Reference, "/", 3); len(parts) == 3 {
		return parts[2] + "@" + digest
	}
	return digest
}

// FullName is the full name of the ref; empty for a commit asked for by its hash.
func (r Revision) FullName() string { return strings.TrimSuffix(r.Reference, peelSuffix) }

// HashOf is the commit that a revision string, or a bare hash, names; empty
// when it names none.
func HashOf(revision string) string {
	hash := revision[strings.LastIndexAny(revision, ":/@")+1:]
	if !wire.IsHash(hash) {
		return ""
	}
	return hash
}
