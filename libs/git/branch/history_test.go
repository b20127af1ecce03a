package branch

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// The history of a path is fetched as far as it is needed, with what the file held then.
func TestHistory(t *testing.T) {
	protocols(t, func(w *world) {
		w.seed(gittest.Commit{Files: map[string]string{"other": "0"}, Time: noon})
		at := noon
		write := func(author, message, path, content string) {
			at = at.Add(time.Minute)
			w.seed(gittest.Commit{Author: author, Message: message, Files: map[string]string{path: content}, Time: at})
		}
		write("Bot <bot@example.com>", "update\n\nSluice-Automation: default/web", "d/app.yaml", "v1")
		w.open("").Head() // the mirror begins in the middle
		for i := range 40 {
			write("Jane <jane@example.com>", "unrelated", "other", fmt.Sprint(i))
		}
		write("Bot <bot@example.com>", "update\n\nbody\n\nSluice-Automation: default/web\n", "d/app.yaml", "v2")
		write("Jane <jane@example.com>", "roll back", "d/app.yaml", "v1")
		write("Jane <jane@example.com>", "unrelated", "other", "last")
		h := w.open("").Head()
		touches, complete, err := h.History(w.Context(), "d/app.yaml", Limit{})
		w.do(err)
		var got []string
		for _, touch := range touches {
			got = append(got, fmt.Sprint(touch.Commit.Author.Name, " ", w.content(h, touch.Before), " ", w.content(h, touch.After), " ", Trailer(touch.Commit.Message, "sluice-automation")))
		}
		if diff := cmp.Diff([]string{"Jane v2 v1 []", "Bot v1 v2 [default/web]", "Bot  v1 [default/web]"}, got); diff != "" || !complete {
			w.Errorf("complete %v: %s", complete, diff)
		}
		touches, complete, err = w.open("").Head().History(w.Context(), "d/app.yaml", Limit{Touches: 1})
		if err != nil || len(touches) != 1 || complete {
			w.Errorf("%d touches, complete %v, %v", len(touches), complete, err)
		}
		touches, complete, err = w.open("").Head().History(w.Context(), "d/app.yaml", Limit{Generations: 10})
		if err != nil || len(touches) != 2 || complete {
			w.Errorf("%d touches, complete %v, %v", len(touches), complete, err)
		}
		touches, complete, err = h.History(w.Context(), "missing", Limit{})
		if err != nil || len(touches) != 0 || !complete {
			w.Errorf("%d touches, complete %v, %v", len(touches), complete, err)
		}
		_, err = push(w.Context(), w.open(""), draft("d/app.yaml", "v3")) // on a mirror with history
		w.do(err)
		w.sound()
	})
}

func (w *world) content(h *Head, hash string) string {
	w.Helper()
	if hash == "" {
		return ""
	}
	content, err := h.Read(w.Context(), hash, 1<<20)
	w.do(err)
	return string(content)
}

// The limit is kept where the mirror does not know more, and a mirror that gets lost costs nothing but time.
func TestHistoryIsBounded(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	for i := range 20 {
		w.seed(gittest.Commit{Files: map[string]string{"a": fmt.Sprint(i)}, Time: noon.Add(time.Duration(i) * time.Minute)})
	}
	touches, complete, err := w.open("").Head().History(t.Context(), "a", Limit{Generations: 5})
	if err != nil || complete || len(touches) < 4 || len(touches) > 5 {
		t.Fatalf("%d touches, complete %v, %v", len(touches), complete, err)
	}
	w.seed(gittest.Commit{Files: map[string]string{"a": "new"}})
	touches, complete, err = w.open("").Head().History(t.Context(), "a", Limit{})
	if err != nil || !complete || len(touches) != 21 {
		t.Fatalf("%d touches, complete %v, %v", len(touches), complete, err)
	}
}

// A merge counts as a change where it differs from all it merges; the side that
// does not matter is not followed.
func TestHistoryOfMerges(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	base := w.seed(gittest.Commit{Files: map[string]string{"a": "1", "b": "1"}, Time: noon})
	main := w.seed(gittest.Commit{Files: map[string]string{"b": "2"}, Time: noon.Add(time.Minute)})
	side := w.seed(gittest.Commit{Branch: "side", Parent: base, Files: map[string]string{"a": "2"}, Time: noon.Add(2 * time.Minute)})
	b := w.open("side")
	d := draft("a", "2")
	d.When, d.Onto, d.Merge = noon.Add(3*time.Minute), b.Base(), []*Head{b.Base()}
	c, err := push(t.Context(), b, d)
	w.do(err)
	h := w.open("side").Head()
	touches, complete, err := h.History(t.Context(), "a", Limit{})
	w.do(err)
	if len(touches) != 2 || touches[0].Commit.Hash != side || touches[1].Commit.Hash != base || !complete {
		t.Errorf("complete %v, %d touches", complete, len(touches))
	}
	for _, hash := range []string{c.Hash, side, main, base} {
		if found, known, err := h.Contains(t.Context(), hash, 10); !found || !known || err != nil {
			t.Errorf("%s: %v %v %v", hash, found, known, err)
		}
	}
}

func TestContains(t *testing.T) {
	protocols(t, func(w *world) {
		var hashes []string
		for i := range 50 {
			hashes = append(hashes, w.seed(gittest.Commit{Files: map[string]string{"a": fmt.Sprint(i)}}))
		}
		stranger := w.seed(gittest.Commit{Branch: "stranger", Orphan: true, Files: map[string]string{"x": "1"}})
		h := w.open("").Head()
		check := func(hash string, generations int, wantFound, wantKnown bool) {
			w.Helper()
			if found, known, err := h.Contains(w.Context(), hash, generations); found != wantFound || known != wantKnown || err != nil {
				w.Errorf("%s: %v %v %v", hash, found, known, err)
			}
		}
		check(hashes[49], 10, true, true)
		check(hashes[45], 10, true, true)
		check(hashes[10], 10, false, false)
		check(stranger, 10, false, false)
		check(hashes[0], 100, true, true)
		check(stranger, 100, false, true)
	})
}

func TestTrailer(t *testing.T) {
	for message, want := range map[string]string{
		"a: b": "", "s\n\na: b": "b", "s\n\nA : b : c\r\nx: y\n\n": "b : c", "s\n\na: b\n\nc: d": "", "": "", "s\n\na: \n": "",
	} {
		if got := Trailer(message, "a"); fmt.Sprint(got) != fmt.Sprintf("[%s]", want) {
			t.Errorf("%q: %q", message, got)
		}
	}
}

// Others are who have pushed to a branch what its base lacks.
func TestOthers(t *testing.T) {
	protocols(t, func(w *world) {
		const bot, jane = "Bot <bot@example.com>", "Jane <jane@example.com>"
		at := noon
		write := func(author, to string) {
			at = at.Add(time.Minute)
			w.seed(gittest.Commit{Author: author, Branch: to, Files: map[string]string{"a": at.String()}, Time: at})
		}
		write(jane, "main")
		main, err := w.repo.Resolve(w.Context(), "main")
		w.do(err)
		w.do(w.repo.SetRef(w.Context(), "refs/heads/auto", main))
		check := func(want bool, when string) {
			w.Helper()
			b := w.open("auto")
			got, err := b.Others(w.Context(), Person{Name: "Bot", Email: "bot@example.com"}, DefaultGenerations)
			if err != nil || got != want {
				w.Errorf("%s: %v, %v", when, got, err)
			}
		}
		check(false, "where there is nothing")
		for range 40 {
			write(bot, "auto")
		}
		check(false, "with commits of its own")
		write(jane, "auto")
		write(bot, "auto")
		check(true, "with a commit of somebody else")
		hash, err := w.repo.Resolve(w.Context(), "auto")
		w.do(err)
		w.do(w.repo.SetRef(w.Context(), "refs/heads/main", hash))
		check(false, "after a merge")
	})
}
