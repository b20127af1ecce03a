package branch

import (
	"slices"

	"github.com/sluice-cd/sluice/libs/git"
)

// queue gives commits once each, the latest first.
type queue struct {
	waiting []waiting
	seen    map[string]bool
}

type waiting struct {
	commit     git.Commit
	generation int
}

func (q *queue) add(c git.Commit, generation int) {
	if q.seen == nil {
		q.seen = map[string]bool{}
	}
	if q.seen[c.Hash] {
		return
	}
	q.seen[c.Hash] = true
	at, _ := slices.BinarySearchFunc(q.waiting, c, func(w waiting, c git.Commit) int {
		return w.commit.Committer.When.Compare(c.Committer.When)
	})
	q.waiting = slices.Insert(q.waiting, at, waiting{c, generation})
}

func (q *queue) next() waiting {
	last := q.waiting[len(q.waiting)-1]
	q.waiting = q.waiting[:len(q.waiting)-1]
	return last
}
