package update

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// maxTouches is how many earlier versions of a file are looked at.
const maxTouches = 50

// reverted looks for the choice at the place of a marker in the past.
func (s *scanner) reverted(ctx context.Context, c *choice, m edit.Marker) (*hold, error) {
	want, err := m.Want(c.ref)
	if err != nil {
		return nil, nil
	}
	return s.search(ctx, m.File, c.ref, m.Value, func(f *edit.File) bool {
		markers, _ := f.Markers()
		return slices.ContainsFunc(markers, func(old edit.Marker) bool {
			return old.Policy == m.Policy && old.Part == m.Part && old.Object == m.Object && old.Path == m.Path && old.Value == want
		})
	})
}

// search looks in the history of a file for a version that had an image: where it was there before and is not any more, somebody has set it
// back. It returns nil where it was never there.
func (s *scanner) search(ctx context.Context, name string, ref imageref.Ref, present string, had func(*edit.File) bool) (*hold, error) {
	touches, _, err := s.head.History(ctx, name, branch.Limit{Touches: maxTouches})
	if err != nil {
		return nil, err
	}
	for i, touch := range touches {
		if touch.After == "" {
			continue
		}
		data, err := s.head.Read(ctx, touch.After, maxRead)
		if err != nil {
			return nil, err
		}
		f, err := edit.Parse(name, data)
		if err != nil || !had(f) { // or was broken then
			continue
		}
		h := &hold{Ref: ref.String(), Tag: ref.Tag, Now: present, Since: time.Now().UTC().Truncate(time.Second)}
		if i > 0 { // the commit after it took it away
			h.By, h.Commit, h.Since = touches[i-1].Commit.Author.Name, touches[i-1].Commit.Hash, touches[i-1].Commit.Committer.When
		}
		return h, nil
	}
	return nil, nil
}

// String says what is held and why.
func (h hold) String() string {
	by := "somebody"
	if h.By != "" {
		by = fmt.Sprintf("%s in commit %.7s", h.By, h.Commit)
	}
	return fmt.Sprintf("%s was set back to %s by %s; a newer version will be written", h.Ref, h.Now, by)
}
