//lint:file-ignore SA1019 repositories still use the fields that kustomize calls deprecated, and what they hold must be looked at

package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	kustypes "sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-cd/sluice/services/manifest-renderer/internal/tree"
)

// Form is what may stand behind an address.
type Form int

// What kustomize makes of an address depends on the field.
const (
	FileOrDirectory Form = iota
	OnlyFile
	OnlyDirectory
)

// Address is what a kustomization names that is not in its source, as it stands there.
type Address struct {
	Text string
	Form Form
}

// String is the address without what in it can be secret.
func (a Address) String() string { return shown(a.Text) }

// Remote is what was fetched from an address.
type Remote struct {
	Tree *tree.Tree
	// Path is the directory in the tree that is meant, or the file.
	Path string
	// ID is the commit, or a digest of the file: with the same one, so is the tree.
	ID string
}

// NeedsRemotes says that a build needs what was not fetched for it. To fetch is not for a build, which holds a slot.
type NeedsRemotes struct{ Addresses []Address }

func (e *NeedsRemotes) Error() string {
	return fmt.Sprintf("%d remote addresses are not fetched", len(e.Addresses))
}

// maxRemotes is how many addresses one build may name, those that remote bases name included.
const maxRemotes = 64

// remotes puts directories of the build in the place of addresses.
type remotes struct {
	view    *tree.View
	allowed bool
	fetched map[Address]Remote
	used    map[Address]string // to ID
	labels  []string           // pairs of a mount and the address it stands for
}

// localize replaces the addresses in a kustomization file by where their content is in the build, and reports whether there were any.
func (r *remotes) localize(dir string, k *kustypes.Kustomization) (changed bool, err error) {
	needs := &NeedsRemotes{}
	err = eachReference(k, func(field string, form Form, value *string) error {
		before, entry, found := r.split(field, *value)
		if !found {
			return r.contained(dir, field, entry)
		}
		if !r.allowed || form == nothing || isFileURL(entry) {
			return inField(errRemote(entry, r.allowed), field)
		}
		address := Address{entry, form}
		remote, ok := r.fetched[address]
		if !ok {
			needs.Addresses = append(needs.Addresses, address)
			return nil
		}
		*value, changed = before+r.place(dir, address, remote), true
		return nil
	})
	if err == nil && len(needs.Addresses) > 0 {
		if len(needs.Addresses)+len(r.fetched) > maxRemotes {
			return false, failed("the build names more than %d remote addresses", maxRemotes)
		}
		err = needs
	}
	return changed, err
}

// split takes an address off the key that stands before it in an entry of a generator.
func (r *remotes) split(field, value string) (before, entry string, found bool) {
	if isRemote(value) {
		return "", value, true
	}
	if key, rest, ok := strings.Cut(value, "="); ok && isGenerator(field) {
		return key + "=", rest, isRemoteSource(rest)
	}
	return "", value, false
}

func isGenerator(field string) bool { return strings.HasSuffix(field, "Generator") }

func isFileURL(entry string) bool { return strings.HasPrefix(strings.ToLower(entry), "file:") }

// contained keeps what a remote base names within its repository.
func (r *remotes) contained(dir, field, value string) error {
	mount := r.view.MountOf(dir)
	if mount == "" || value == "" || strings.Contains(value, "\n") {
		return nil
	}
	if name, ok := resolve(dir, value); !ok || r.view.MountOf(name) != mount {
		return inField(failed("%.200q leads out of the remote base", value), field)
	}
	return nil
}

func inField(e *Error, field string) *Error {
	e.Message = field + ": " + e.Message
	return e
}

// place shows a remote tree to the build and returns the way to it from a directory.
func (r *remotes) place(dir string, a Address, remote Remote) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", a.Form, a.Text)) // the form counts: a file may be there, and a directory
	mount := r.view.Mount(hex.EncodeToString(sum[:6]), remote.Tree)
	if r.used == nil {
		r.used = make(map[Address]string)
	}
	if _, known := r.used[a]; !known {
		r.labels = append(r.labels, mount, a.String())
	}
	r.used[a] = remote.ID
	way, err := filepath.Rel(path.Join(tree.Root, dir), path.Join(tree.Root, mount, remote.Path))
	if err != nil {
		return mount // both are absolute: there is always a way
	}
	return way
}

// labelled puts addresses in the place of where their content is in the build.
func (r *remotes) labelled(message string) string {
	if len(r.labels) == 0 {
		return message
	}
	return strings.NewReplacer(r.labels...).Replace(message)
}
