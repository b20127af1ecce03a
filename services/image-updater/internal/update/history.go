package update

import (
	"context"
	"fmt"
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
	return s.search(ctx, m.File, c.ref, m.Value, markerKey(m, want))
}

func markerKey(m edit.Marker, value string) string {
	return fmt.Sprintf("%q %q %q %q %q", m.Policy, m.Part, m.Object, m.Path, value)
}

func containerKey(o edit.Object, c edit.Container, ref imageref.Ref) string {
	return fmt.Sprintf("%q %q %q %q", o, c.Name, ref.Name, ref.Tag)
}

// version is what a file held at some time.
type version struct {
	branch.Touch
	images map[string]bool // by key; nil as long as nobody asked
}

// search looks in the history of a file for a version that had an image, by its key: where it was there before and is not any more, somebody
// has set it back. It returns nil where it was never there, or where the automation itself took it away, as its policy was to go down then.
func (s *scanner) search(ctx context.Context, name string, ref imageref.Ref, present, key string) (*hold, error) {
	versions, err := s.versions(ctx, name)
	if err != nil {
		return nil, err
	}
	for i := range versions {
		v := &versions[i]
		if v.images == nil {
			if v.images, err = s.images(ctx, name, v.After); err != nil {
				return nil, err
			}
		}
		if !v.images[key] {
			continue
		}
		h := &hold{Ref: ref.String(), Tag: ref.Tag, Now: present, Since: time.Now().UTC().Truncate(time.Second)}
		if i > 0 { // the commit after it took it away
			by := versions[i-1].Commit
			if s.author.Made(by) {
				return nil, nil
			}
			h.By, h.Commit, h.Since = by.Author.Name, by.Hash, by.Committer.When
		}
		return h, nil
	}
	return nil, nil
}

// versions are those of a file, the latest first. They are kept until another file is asked about: one file may hold many images.
func (s *scanner) versions(ctx context.Context, name string) ([]version, error) {
	if s.past.name == name {
		return s.past.versions, nil
	}
	touches, _, err := s.head.History(ctx, name, branch.Limit{Touches: maxTouches})
	if err != nil {
		return nil, err
	}
	s.past.name, s.past.versions = name, make([]version, len(touches))
	for i, touch := range touches {
		s.past.versions[i].Touch = touch
	}
	return s.past.versions, nil
}

// images are the keys of all images that a version of a file says; none where there was no file, or it was broken.
func (s *scanner) images(ctx context.Context, name, hash string) (map[string]bool, error) {
	keys := map[string]bool{}
	if hash == "" {
		return keys, nil
	}
	data, err := s.head.Read(ctx, hash, maxRead)
	if err != nil {
		return nil, err
	}
	f, err := edit.Parse(name, data)
	if err != nil {
		return keys, nil
	}
	if !s.byNotes {
		markers, _ := f.Markers()
		for _, m := range markers {
			keys[markerKey(m, m.Value)] = true
		}
		return keys, nil
	}
	workloads, _ := f.Workloads()
	for _, w := range workloads {
		for _, c := range w.Containers {
			keys[containerKey(w.Object, c, c.Image)] = true
		}
	}
	return keys, nil
}

// String says what is held and why.
func (h hold) String() string {
	by := "somebody"
	if h.By != "" {
		by = fmt.Sprintf("%s in commit %.7s", h.By, h.Commit)
	}
	return fmt.Sprintf("%s was set back to %s by %s; a newer version will be written", h.Ref, h.Now, by)
}
