package branch

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/wire"
)

// maxMessage bounds a commit's message, as readers of commits do.
const maxMessage = 512 << 10

// Person is an author or committer. Characters that would change the meaning of
// a commit are left out.
type Person struct{ Name, Email string }

// Signer makes an armored signature of a commit.
type Signer interface {
	Sign(payload []byte) ([]byte, error)
}

// Draft is a commit to be made.
type Draft struct {
	// Changes are whole contents by path. Files keep their mode; new ones are
	// plain. Symbolic links, submodules and directories cannot be changed.
	Changes map[string][]byte
	Message string
	Author  Person
	// Committer is the author by default.
	Committer Person
	// When is the time of both, to the second, in its own zone.
	When time.Time
	// Signer may be nil.
	Signer Signer
	// Onto is the head whose files are changed; by default Branch.Head.
	Onto *Head
	// Merge names more heads that the commit is to stand on, beside the branch to
	// push to: with Onto and Merge both Branch.Base, the branch to push to is
	// brought to the state of the base plus the changes, and no commit is lost.
	Merge []*Head
}

// Commit is one that was made and is not pushed yet.
type Commit struct {
	Hash    string
	Parents []string
	// Paths are those whose content changed, sorted.
	Paths []string
	// Pack holds the objects that are new.
	Pack []byte
	// Objects is the number of them.
	Objects int
}

// Commit makes a commit on top of Branch.Head. It is ErrUnchanged when the files have
// the content already and no other parent is new to the branch.
func (b *Branch) Commit(ctx context.Context, d Draft) (*Commit, error) {
	onto := d.Onto
	if onto == nil {
		onto = b.Head()
	}
	tree, err := edit(ctx, onto, d.Changes)
	if err != nil {
		return nil, err
	}
	parents := b.parents(d.Merge)
	if tree.root == b.Head().Commit().Tree && len(parents) == 1 {
		return nil, ErrUnchanged
	}
	raw, err := d.encode(tree.root, parents)
	if err != nil {
		return nil, err
	}
	commit := git.NewCommit(raw)
	objects := unique(append(tree.objects, commit))
	pack, err := git.Pack(objects)
	if err != nil {
		return nil, err
	}
	return &Commit{Hash: commit.Hash, Parents: parents, Paths: tree.changed, Pack: pack, Objects: len(objects)}, nil
}

// unique leaves one of each object: servers that check packs strictly refuse those that hold one twice.
func unique(objects []git.Object) []git.Object {
	seen := make(map[string]bool, len(objects))
	return slices.DeleteFunc(objects, func(o git.Object) bool {
		known := seen[o.Hash]
		seen[o.Hash] = true
		return known
	})
}

func (b *Branch) parents(merge []*Head) []string {
	parents := []string{b.Head().Hash()}
	for _, h := range merge {
		if !slices.Contains(parents, h.Hash()) {
			parents = append(parents, h.Hash())
		}
	}
	return parents
}

// encode writes the commit, signed where it is to be.
func (d Draft) encode(tree string, parents []string) ([]byte, error) {
	header, err := d.header(tree, parents)
	if err != nil {
		return nil, err
	}
	message, err := cleanMessage(d.Message)
	if err != nil {
		return nil, err
	}
	if d.Signer == nil {
		return []byte(header + "\n" + message), nil
	}
	signature, err := d.Signer.Sign([]byte(header + "\n" + message))
	if err != nil {
		return nil, err
	}
	lines := bytes.ReplaceAll(bytes.TrimRight(signature, "\n"), []byte("\n"), []byte("\n "))
	return fmt.Appendf(nil, "%sgpgsig %s\n\n%s", header, lines, message), nil
}

func (d Draft) header(tree string, parents []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, parent := range parents {
		if !wire.IsHash(parent) {
			return "", fmt.Errorf("%w: parent %q", ErrInvalid, parent)
		}
		fmt.Fprintf(&b, "parent %s\n", parent)
	}
	committer := d.Committer
	if committer == (Person{}) {
		committer = d.Author
	}
	author, committer := d.Author.clean(), committer.clean()
	if author.Email == "" && author.Name == "" {
		return "", fmt.Errorf("%w: the commit has no author", ErrInvalid)
	}
	if d.When.Unix() <= 0 {
		return "", fmt.Errorf("%w: the commit has no time", ErrInvalid)
	}
	when := fmt.Sprintf("%d %s", d.When.Unix(), d.When.Format("-0700"))
	fmt.Fprintf(&b, "author %s %s\ncommitter %s %s\n", author, when, committer, when)
	return b.String(), nil
}

// String is how commits write a person; the space stays without a name, too.
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

// clean leaves out what delimits names, addresses and lines, as git does.
func (p Person) clean() Person {
	only := func(text string) string {
		text = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == '<' || r == '>' {
				return -1
			}
			return r
		}, strings.ToValidUTF8(text, ""))
		return strings.Trim(text, " .,:;\"\\'")
	}
	return Person{only(p.Name), only(p.Email)}
}

// cleanMessage makes valid text that ends in one newline. A zero byte would end
// the message for some readers and not for others.
func cleanMessage(text string) (string, error) {
	if len(text) > maxMessage {
		return "", fmt.Errorf("%w: the message of the commit has more than %d bytes", ErrInvalid, maxMessage)
	}
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "")
	text = strings.Trim(text, "\r\n")
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("%w: the commit has no message", ErrInvalid)
	}
	return text + "\n", nil
}
