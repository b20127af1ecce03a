package app

import (
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/sluice-cd/sluice/libs/git/address"
	"github.com/sluice-cd/sluice/libs/gittest"
	hintsv1 "github.com/sluice-cd/sluice/proto/hints/v1"
)

// A call from outside makes exactly those repositories be looked at that it names, by object or by address.
func TestHints(t *testing.T) {
	w := newWorld(t, gittest.Options{}, nil)
	hint := func(h *hintsv1.Hint) {
		t.Helper()
		w.do(w.bus.PublishHints(t.Context(), &hintsv1.Batch{Hints: []*hintsv1.Hint{h}}))
	}
	names := func(name string) []*hintsv1.ObjectName {
		return []*hintsv1.ObjectName{{ApiVersion: sourcev1.GroupVersion.String(), Kind: "GitRepository", Namespace: w.ns, Name: name}}
	}
	one, two, other := w.repository("one", "a", "1"), w.repository("two", "a", "1"), w.repository("two-more", "a", "1")
	for _, name := range []string{"one", "two", "two-more"} {
		w.create(name, nil)
		w.ready(name, "")
	}
	hash := w.commit(one, "a", "2")
	hint(&hintsv1.Hint{Objects: names("one")})
	w.ready("one", hash)

	untouched := w.commit(other, "a", "2")
	hash = w.commit(two, "a", "2")
	normal, err := address.Normal(strings.Replace(strings.TrimSuffix(w.server.URL("two"), ".git"), "http://", "ssh://git@", 1) + ".git")
	w.do(err)
	hint(&hintsv1.Hint{Repositories: []string{normal}})
	w.ready("two", hash)
	// What would match as an expression, or in part, does not.
	for _, wrong := range []string{strings.Replace(normal, "two", ".*", 1), normal + "-", "", "/"} {
		hint(&hintsv1.Hint{Repositories: []string{wrong}})
	}
	// An object that is not served here is not looked at, and does no harm.
	hint(&hintsv1.Hint{Objects: names("none")})
	hash = w.commit(two, "a", "3")
	hint(&hintsv1.Hint{Repositories: []string{normal}})
	w.ready("two", hash)
	if r := w.get("two-more"); strings.HasSuffix(r.Status.Artifact.Revision, untouched) {
		t.Errorf("a repository was looked at that nobody named: %s", r.Status.Artifact.Revision)
	}
	w.change("one", func(r *sourcev1.GitRepository) { r.Spec.Suspend = true })
	before := w.get("one").Status.Artifact.Revision
	w.commit(one, "a", "4")
	hint(&hintsv1.Hint{Objects: names("one")})
	hash = w.commit(two, "a", "5")
	hint(&hintsv1.Hint{Repositories: []string{normal}})
	w.ready("two", hash)
	if got := w.get("one").Status.Artifact.Revision; got != before {
		t.Errorf("a suspended repository was looked at: %s", got)
	}
}
