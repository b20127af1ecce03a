package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// Resolved is a source whose ref was looked up, with the conversation still
// open. It is not for concurrent use.
type Resolved struct {
	mirrors  *Mirrors
	mirror   *mirror
	client   *wire.Client
	source   Source
	url      *url.URL
	revision Revision
	target   target
	readers  []*objects
	inner    []*Resolved // of submodules
}

// Resolve looks up what the source's ref points at: one request in the usual
// case, and nothing is fetched (but where tags of one precedence have to be told
// apart by their time). The caller closes the result.
func (m *Mirrors) Resolve(ctx context.Context, src Source) (*Resolved, error) {
	u, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	if err := src.Ref.check(); err != nil {
		return nil, err
	}
	mirror := m.acquire(src)
	client, err := m.connect(u, src, m.server(mirror))
	if err != nil {
		m.release(mirror)
		return nil, err
	}
	r := &Resolved{mirrors: m, mirror: mirror, client: client, source: src, url: u}
	err = r.resolve(ctx, src.Ref)
	if client.Spoke() { // not when somebody else listed the refs
		m.remember(mirror, client.Server())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unable to resolve '%s': %w", display(u), err), r.Close())
	}
	return r, nil
}

// Revision is what the ref points at.
func (r *Resolved) Revision() Revision { return r.revision }

// Close hangs up and ends the use of snapshots.
func (r *Resolved) Close() error {
	errs := []error{r.client.Close()}
	for _, inner := range r.inner {
		errs = append(errs, inner.Close())
	}
	for _, reader := range r.readers {
		errs = append(errs, reader.close())
	}
	r.mirrors.release(r.mirror)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the conversation with '%s': %w", display(r.url), err)
	}
	return nil
}

func (r *Resolved) resolve(ctx context.Context, ref Ref) error {
	switch {
	case ref.Commit != "":
		return r.resolveCommit(ctx, ref)
	case ref.Name != "":
		return r.resolveName(ctx, ref.Name, true)
	case ref.SemVer != "":
		return r.resolveSemVer(ctx, ref.SemVer)
	case ref.Tag != "":
		return r.resolveName(ctx, tagPrefix+ref.Tag, false)
	case ref.Branch != "":
		return r.resolveName(ctx, branchPrefix+ref.Branch, false)
	}
	return r.resolveName(ctx, branchPrefix+defaultBranch, false)
}

func (r *Resolved) resolveName(ctx context.Context, name string, absolute bool) error {
	found, err := r.lookUp(ctx, strings.TrimSuffix(name, peelSuffix))
	if err != nil {
		return err
	}
	r.choose(found, Revision{Reference: name, Hash: found.Target(), Absolute: absolute})
	return nil
}

func (r *Resolved) choose(found wire.Ref, revision Revision) {
	r.revision = revision
	r.target = target{want: found.Hash, commit: found.Target()}
}

// lookUp finds one ref by its full name.
func (r *Resolved) lookUp(ctx context.Context, name string) (wire.Ref, error) {
	refs, err := r.list(ctx, name)
	if err != nil {
		return wire.Ref{}, err
	}
	if i := slices.IndexFunc(refs, func(ref wire.Ref) bool { return ref.Name == name }); i >= 0 {
		return refs[i], nil
	}
	return wire.Ref{}, r.missing(ctx, name)
}

// list lists refs together with all others that want to know the same now.
func (r *Resolved) list(ctx context.Context, prefix string) ([]wire.Ref, error) {
	if r.source.Ref.Commit != "" {
		return r.client.Refs(ctx, prefix) // what the server can do has to be learned, too
	}
	key := r.source.mirrorKey() + " " + r.source.Auth.identity() + " " + prefix
	return r.mirrors.listings.list(ctx, key, func(ctx context.Context) ([]wire.Ref, error) {
		return r.client.Refs(ctx, prefix)
	})
}

// missing tells an empty repository from one that lacks a ref.
func (r *Resolved) missing(ctx context.Context, name string) error {
	if refs, err := r.client.Refs(ctx, "HEAD", "refs/"); err == nil && len(refs) == 0 {
		return ErrEmpty
	}
	return fmt.Errorf("couldn't find remote ref %q: %w", name, ErrNotFound)
}

// resolveCommit takes the commit as given, after the server has let us in. Where
// a branch is named, too, it has to exist. Whether the commit is part of it is
// looked at only where the commit comes with the branch's history, see target.
func (r *Resolved) resolveCommit(ctx context.Context, ref Ref) error {
	hash := strings.ToLower(ref.Commit)
	r.revision = Revision{Hash: hash}
	tips, err := r.tips(ctx, ref.Branch)
	if err != nil {
		return err
	}
	r.target = target{want: hash, commit: hash}
	if !r.client.WantsAny() && !slices.Contains(tips, hash) {
		r.target.full = tips
	}
	switch {
	case ref.Name != "":
		r.revision.Reference, r.revision.Absolute = ref.Name, true
	case ref.Branch != "":
		r.revision.Reference = branchPrefix + ref.Branch
	}
	return nil
}

// tips are the tip of a branch or, when none is named, of all refs, as far as
// they are needed: servers that hand out any commit are asked for little.
func (r *Resolved) tips(ctx context.Context, branch string) ([]string, error) {
	if branch != "" {
		found, err := r.lookUp(ctx, branchPrefix+branch)
		return []string{found.Hash}, err
	}
	refs, err := r.client.Refs(ctx, "HEAD")
	if err == nil && !r.client.WantsAny() {
		refs, err = r.client.Refs(ctx, branchPrefix, tagPrefix)
	}
	var tips []string
	for _, ref := range refs {
		tips = append(tips, ref.Hash)
	}
	slices.Sort(tips)
	return slices.Compact(tips), err
}

func (r *Resolved) resolveSemVer(ctx context.Context, expression string) error {
	constraint, err := semver.NewConstraint(expression)
	if err != nil {
		return fmt.Errorf("%w: semver range %q: %w", ErrRefInvalid, expression, err)
	}
	tags, err := r.list(ctx, tagPrefix)
	if err != nil {
		return err
	}
	latest := latestTags(tags, constraint)
	if len(latest) == 0 {
		return fmt.Errorf("no match found for semver: %s: %w", expression, ErrNotFound)
	}
	chosen := latest[0]
	if len(latest) > 1 {
		if chosen, err = r.youngest(ctx, latest); err != nil {
			return err
		}
	}
	r.choose(chosen, Revision{Reference: chosen.Name, Hash: chosen.Target()})
	return nil
}

// latestTags are the tags with the highest version in the range: several where
// they differ only in their build metadata.
func latestTags(tags []wire.Ref, constraint *semver.Constraints) []wire.Ref {
	var latest []wire.Ref
	var highest *semver.Version
	for _, tag := range tags {
		version, ok := parseVersion(strings.TrimPrefix(tag.Name, tagPrefix))
		if !ok || !constraint.Check(version) {
			continue
		}
		switch order := compare(version, highest); {
		case order > 0:
			highest, latest = version, []wire.Ref{tag}
		case order == 0:
			latest = append(latest, tag)
		}
	}
	return latest
}

func compare(version, highest *semver.Version) int {
	if highest == nil {
		return 1
	}
	return version.Compare(highest)
}

// parseVersion takes versions of three parts, as Flux does: v1 and 1.2 are none.
func parseVersion(tag string) (*semver.Version, bool) {
	if strings.Count(tag, ".") < 2 {
		return nil, false
	}
	version, err := semver.NewVersion(tag)
	return version, err == nil
}

// youngest is the tag whose commit was committed last. Their commits have to be
// fetched for that.
func (r *Resolved) youngest(ctx context.Context, tags []wire.Ref) (wire.Ref, error) {
	slices.SortFunc(tags, func(a, b wire.Ref) int { return strings.Compare(a.Name, b.Name) })
	var chosen wire.Ref
	var latest Commit
	for _, tag := range tags {
		r.choose(tag, Revision{Reference: tag.Name, Hash: tag.Target()})
		snapshot, err := r.Fetch(ctx)
		if err != nil {
			return wire.Ref{}, err
		}
		if chosen.Name == "" || !snapshot.Commit.Committer.When.Before(latest.Committer.When) {
			chosen, latest = tag, snapshot.Commit
		}
	}
	return chosen, nil
}
