package git

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/sluice-cd/sluice/libs/git/wire"
)

// maxCommitBytes bounds commits and tags.
const maxCommitBytes = 1 << 20

// Commit is what a commit says of itself.
type Commit struct {
	Hash              string
	Author, Committer Signature
	// Subject is the first line of Message.
	Subject, Message string
	// Raw is the commit object, signature included; RawTag the annotated tag
	// object that led to it, if one did.
	Raw, RawTag []byte

	tree string
}

// Signature is a person and a time.
type Signature struct {
	Name, Email string
	When        time.Time
}

func readCommit(ctx context.Context, o *objects, hash string) (Commit, error) {
	raw, err := o.read(ctx, plumbing.CommitObject, hash, maxCommitBytes)
	if err != nil {
		return Commit{}, err
	}
	return parseCommit(hash, raw)
}

// parseCommit is strict about the order of the headers that count: a commit
// with two trees must not mean one thing here and another where its signature is
// checked.
func parseCommit(hash string, raw []byte) (Commit, error) {
	c := Commit{Hash: hash, Raw: raw}
	header, message, _ := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.Split(string(header), "\n")
	tree, ok := strings.CutPrefix(lines[0], "tree ")
	if !ok || !wire.IsHash(tree) {
		return Commit{}, fmt.Errorf("%w: commit %s has no tree", ErrInvalidTree, hash)
	}
	c.tree = tree
	rest := lines[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "parent ") {
		rest = rest[1:]
	}
	for _, field := range []struct {
		name string
		into *Signature
	}{{"author ", &c.Author}, {"committer ", &c.Committer}} {
		if len(rest) == 0 || !strings.HasPrefix(rest[0], field.name) {
			return Commit{}, fmt.Errorf("%w: commit %s has no %s", ErrInvalidTree, hash, strings.TrimSpace(field.name))
		}
		*field.into = parseSignature(strings.TrimPrefix(rest[0], field.name))
		rest = rest[1:]
	}
	c.Message = strings.ToValidUTF8(string(message), "�")
	c.Subject, _, _ = strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	return c, nil
}

func parseSignature(text string) Signature {
	var s object.Signature
	s.Decode([]byte(text))
	return Signature{Name: strings.ToValidUTF8(s.Name, "�"), Email: strings.ToValidUTF8(s.Email, "�"), When: s.When}
}
