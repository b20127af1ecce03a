package branch

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/gittest"
)

var toReview = PushOptions{Refspec: "HEAD:refs/heads/review"}

// refuseReview is a hook that keeps pushes away from one branch.
const refuseReview = `[ "$1" != refs/heads/review ] || { echo 'review is frozen' >&2; exit 1; }`

// halfWorld is a server that does not move several refs together.
func halfWorld(w *world) (first string) {
	w.Helper()
	w.do(w.repo.Config(w.Context(), "receive.advertiseAtomic", "false"))
	first = w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
	w.do(w.repo.SetRef(w.Context(), "refs/heads/review", first))
	return first
}

func (w *world) wantPartial(err, kind error, commit string) {
	w.Helper()
	var partial *PartialError
	if !errors.As(err, &partial) || partial.Commit != commit || partial.Branch != "refs/heads/main" || partial.Ref != "refs/heads/review" {
		w.Fatalf("got %v; want one half of the push", err)
	}
	wantError(w.T, err, kind, "refs/heads/main has commit "+commit)
}

func (w *world) wantRefs(main, review string) {
	w.Helper()
	if got := w.git("rev-parse", "main", "review"); got != main+"\n"+review {
		w.Errorf("main and review are\n%s\nwant\n%s\n%s", got, main, review)
	}
}

// Where a server cannot move two refs together, the second follows the first, and what it lacks is
// told and can be done later.
func TestHalfAPush(t *testing.T) {
	protocols(t, func(w *world) {
		first := halfWorld(w)
		b := w.open("")
		c := w.commit(b, draft("a", "2"))
		w.do(b.Push(w.Context(), c, toReview))
		w.wantRefs(c.Hash, c.Hash)

		w.do(w.repo.InstallHook("update", refuseReview))
		b = w.open("")
		next := w.commit(b, draft("a", "3"))
		w.wantPartial(b.Push(w.Context(), next, toReview), git.ErrDeclined, next.Hash)
		w.wantRefs(next.Hash, c.Hash)
		b = w.open("")
		w.wantPartial(b.Bring(w.Context(), next.Hash, toReview), git.ErrDeclined, next.Hash)

		w.do(w.repo.InstallHook("update", ""))
		last := w.seed(gittest.Commit{Files: map[string]string{"b": "1"}}) // not ours to bring
		b = w.open("")
		w.do(b.Bring(w.Context(), next.Hash, toReview))
		w.wantRefs(last, next.Hash)
		w.do(b.Bring(w.Context(), next.Hash, toReview))
		w.do(w.repo.SetRef(w.Context(), "refs/heads/review", last)) // ahead
		w.do(b.Bring(w.Context(), next.Hash, toReview))
		w.wantRefs(last, last)
		w.do(w.repo.SetRef(w.Context(), "refs/heads/review", first)) // set back by somebody: forward again
		w.do(b.Bring(w.Context(), next.Hash, toReview))
		w.wantRefs(last, next.Hash)
		w.sound()
	})
}

// The second ref can move between its listing and its push, too: to where it can still be moved forward
// from, or to where it must stay.
func TestHalfAPushLosesARace(t *testing.T) {
	for name, to := range map[string]string{"forward": "main~1", "elsewhere": "stranger"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			halfWorld(w)
			w.seed(gittest.Commit{Files: map[string]string{"b": "1"}})
			w.seed(gittest.Commit{Branch: "stranger", Orphan: true, Files: map[string]string{"x": "1"}})
			pushes, target := 0, ""
			w.server.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
				if isPush(r) {
					if pushes++; pushes == 2 {
						target = w.git("rev-parse", to)
						w.do(w.repo.SetRef(w.Context(), "refs/heads/review", target))
					}
				}
				return false
			})
			b := w.open("")
			c := w.commit(b, draft("a", "2"))
			err := b.Push(t.Context(), c, toReview)
			if to == "stranger" {
				w.wantPartial(err, ErrRewind, c.Hash)
				w.wantRefs(c.Hash, target)
				return
			}
			w.do(err)
			if w.wantRefs(c.Hash, c.Hash); pushes != 3 {
				t.Errorf("%d pushes; want one more after the lost race", pushes)
			}
		})
	}
}

// A commit that is in the branch is not made again because another ref lacks it.
func TestUpdateTellsOfHalfAPush(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	first := halfWorld(w)
	w.do(w.repo.InstallHook("update", refuseReview))
	made := 0
	c, err := Update(t.Context(), Job{Options: w.options(""), PushOptions: toReview, Make: func(context.Context, *Branch) (*Draft, error) {
		made++
		d := draft("a", "2")
		return &d, nil
	}})
	if c == nil || made != 1 {
		t.Fatalf("commit %v was made %d times: %v", c, made, err)
	}
	w.wantPartial(err, git.ErrDeclined, c.Hash)
	w.wantRefs(c.Hash, first)
}

// A server that moves refs together moves none when it refuses one, and the error is about that one.
func TestAllOrNothing(t *testing.T) {
	protocols(t, func(w *world) {
		first := w.seed(gittest.Commit{Files: map[string]string{"a": "1"}})
		w.do(w.repo.SetRef(w.Context(), "refs/heads/review", first))
		w.do(w.repo.InstallHook("update", refuseReview))
		b := w.open("")
		c := w.commit(b, draft("a", "2"))
		err := b.Push(w.Context(), c, toReview)
		wantError(w.T, err, git.ErrDeclined, "refs/heads/review", "review is frozen")
		if isPartial(err) {
			w.Error("nothing was done, so no half was")
		}
		w.wantRefs(first, first)
		w.do(b.Bring(w.Context(), first, toReview)) // nothing was left undone
	})
}
