package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/libs/archive"
	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/render"
	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// limits of a repository. Files that are larger than maxFile are left out. Several are fetched at once, and each object takes memory meanwhile.
var limits = git.Limits{
	ListBytes: 16 << 20, PackBytes: 256 << 20, UnpackedBytes: 2 << 30, ObjectBytes: 32 << 20, Objects: 200_000, FileBytes: maxFile, TotalBytes: 1 << 30,
	Entries: 100_000,
}

// maxTree is the most bytes of the files of one repository.
const maxTree = 32 << 20

var commitHash = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)

// isFixed says that the same address always gives the same.
func (t target) isFixed() bool {
	return t.file == nil && t.repository != nil && commitHash.MatchString(t.repository.ref)
}

// host is whose turn a fetch takes.
func (t target) host() string {
	if t.file != nil {
		return t.file.Host
	}
	u, err := url.Parse(t.repository.url)
	if err != nil {
		return ""
	}
	return u.Host
}

// refs are what a ref may mean, in git's order.
func (r *repository) refs() []git.Ref {
	switch {
	case r.ref == "" || r.ref == "HEAD":
		return []git.Ref{{Name: "HEAD"}}
	case commitHash.MatchString(r.ref):
		return []git.Ref{{Commit: r.ref}}
	case strings.HasPrefix(r.ref, "refs/"):
		return []git.Ref{{Name: r.ref}}
	}
	return []git.Ref{{Tag: r.ref}, {Branch: r.ref}}
}

// clone gets the files of a repository at its ref.
func (f *Fetcher) clone(ctx context.Context, r *repository) (render.Remote, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	u, err := url.Parse(r.url)
	if err != nil {
		return render.Remote{}, errMalformed
	}
	if err := f.guard.CheckURL(u); err != nil {
		return render.Remote{}, err
	}
	resolved, err := f.resolve(ctx, r)
	if err != nil {
		return render.Remote{}, err
	}
	defer func() { _ = resolved.Close() }()
	id := resolved.Revision().Hash
	files := f.shared(r, id)
	if files == nil {
		if files, err = readTree(ctx, resolved, r.submodules); err != nil {
			return render.Remote{}, err
		}
	}
	return render.Remote{Tree: files, Path: r.path, ID: id}, nil
}

func (f *Fetcher) resolve(ctx context.Context, r *repository) (resolved *git.Resolved, err error) {
	for _, ref := range r.refs() {
		resolved, err = f.mirrors.Resolve(ctx, git.Source{URL: r.url, Ref: ref})
		if !errors.Is(err, git.ErrNotFound) {
			return resolved, err
		}
	}
	return nil, fmt.Errorf("there is no such repository, or no tag or branch %q in it: %w", r.ref, err)
}

// everything takes the place of the rules by which sources leave files out.
var everything = "!*\n"

func readTree(ctx context.Context, resolved *git.Resolved, submodules bool) (*tree.Tree, error) {
	snapshot, err := resolved.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	files, err := snapshot.Files(ctx, git.Selection{Ignore: &everything, Submodules: submodules})
	if err != nil {
		return nil, err
	}
	content, left := make(map[string][]byte, len(files)), int64(maxTree)
	for _, file := range files {
		data, err := read(file)
		if errors.Is(err, git.ErrTooLarge) {
			continue // no manifest
		}
		if err != nil {
			return nil, err
		}
		if left -= int64(len(data)); left < 0 {
			return nil, fmt.Errorf("the files of the repository have more than %d bytes", int64(maxTree))
		}
		content[file.Path] = data
	}
	return tree.New(content)
}

func read(file archive.File) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
