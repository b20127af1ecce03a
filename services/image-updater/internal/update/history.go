package update

import (
	"context"
	"time"

	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
)

// maxTouches is how many earlier versions of a file are looked at.
const maxTouches = 50

// reverted looks in the history of a file for the choice at the place of a marker: where it was there before and is not any more, somebody
// has set it back. It returns nil where it was never there.
func (s *scanner) reverted(ctx context.Context, c *choice, m edit.Marker) (*hold, error) {
	touches, _, err := s.head.History(ctx, m.File, branch.Limit{Touches: maxTouches})
	if err != nil {
		return nil, err
	}
	want, err := m.Want(c.ref)
	if err != nil {
		return nil, nil
	}
	for i, touch := range touches {
		had, err := s.had(ctx, touch.After, m, want)
		if err != nil {
			return nil, err
		}
		if !had {
			continue
		}
		h := &hold{Ref: c.ref.String(), Tag: c.ref.Tag, Now: m.Value, Since: time.Now().UTC().Truncate(time.Second)}
		if i > 0 { // the commit after it took it away
			h.By, h.Commit, h.Since = touches[i-1].Commit.Author.Name, touches[i-1].Commit.Hash, touches[i-1].Commit.Committer.When
		}
		return h, nil
	}
	return nil, nil
}

// had says whether a version of a file holds a value at the place of a marker.
func (s *scanner) had(ctx context.Context, hash string, m edit.Marker, want string) (bool, error) {
	if hash == "" {
		return false, nil
	}
	data, err := s.head.Read(ctx, hash, maxRead)
	if err != nil {
		return false, err
	}
	f, err := edit.Parse(m.File, data)
	if err != nil {
		return false, nil // was broken then
	}
	markers, _ := f.Markers()
	for _, old := range markers {
		if old.Policy == m.Policy && old.Part == m.Part && old.Object == m.Object && old.Path == m.Path && old.Value == want {
			return true, nil
		}
	}
	return false, nil
}
