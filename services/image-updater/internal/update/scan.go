package update

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// maxRead is the most bytes of a file that are read to see whether it has markers.
const maxRead = 32 << 20

// edits are what a branch needs, and what keeps it from having it.
type edits struct {
	files    map[string][]byte
	changes  []edit.Change
	problems []*edit.Problem
	held     []held
	writing  []wrote
	skipped  []string      // files that are too large to be looked at
	again    time.Duration // when to look again for what is not decided yet; zero: all is
}

// wrote is an image that is about to be written for a workload, by the key of the record.
type wrote struct{ key, ref string }

// scanner looks through the files of a branch.
type scanner struct {
	*updater
	namespace string // of the automation
	head      *branch.Head
	author    branch.Person // of the automation's commits
	choices   *choices
	known     *record
	verdicts  map[wanted]*verdict // by annotation
	byNotes   bool
	mine      func(policy, file string) bool // whether a change is of the group that the run is about
	refused   map[string]bool                // changes that somebody does not want, by key
	found     edits
	past      struct {
		name     string // of the file
		versions []version
	}
}

func (j *job) scanner(head *branch.Head) *scanner {
	mine := func(string, string) bool { return true }
	if j.group != nil {
		mine = func(policy, file string) bool { return j.target.requests.group(policy, file) == *j.group }
	}
	return &scanner{
		mine:    mine,
		updater: j.updater, namespace: j.auto.Namespace, head: head, author: j.target.author, refused: j.refused, choices: j.choices, known: j.known, verdicts: j.verdicts, byNotes: byWorkloads(j.auto),
		found: edits{files: map[string][]byte{}},
	}
}

// again notes that something is not decided yet.
func (s *scanner) again(after time.Duration) {
	if s.found.again == 0 || after < s.found.again {
		s.found.again = after
	}
}

// scan makes the edits that the files at and below a path need.
func (s *scanner) scan(ctx context.Context, at string) error {
	if s.byNotes {
		return s.each(ctx, at, s.workloads)
	}
	return s.each(ctx, at, s.file)
}

// each looks at the YAML files at and below a path.
func (s *scanner) each(ctx context.Context, at string, look func(ctx context.Context, name string, data []byte) error) error {
	entries, err := s.head.List(ctx, at)
	if errors.Is(err, git.ErrNotFound) {
		return fmt.Errorf("path %q of spec.update: %w", at, err)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := path.Ext(e.Path); !e.Regular() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		data, err := s.head.Read(ctx, e.Hash, maxRead)
		if errors.Is(err, git.ErrTooLarge) {
			s.found.skipped = append(s.found.skipped, e.Path)
			continue
		}
		if err != nil {
			return err
		}
		if err := look(ctx, e.Path, data); err != nil {
			return err
		}
	}
	return nil
}

// file follows the markers of one file.
func (s *scanner) file(ctx context.Context, name string, data []byte) error {
	if !edit.HasMarkers(data) {
		return nil
	}
	decisions, err := s.decide(ctx, name, data)
	if err != nil {
		return err
	}
	result, err := edit.Update(name, data, func(m edit.Marker) (imageref.Ref, error) { return s.choose(m, decisions) })
	if err != nil {
		s.unedited(name, err)
	}
	s.found.problems = append(s.found.problems, result.Problems...)
	if len(result.Changes) > 0 {
		s.found.changes = append(s.found.changes, result.Changes...)
		s.found.files[name] = result.Data
	}
	return nil
}

// unedited notes a file whose edit could not be made. It stays as it is, and keeps no other from being edited.
func (s *scanner) unedited(name string, err error) {
	s.found.problems = append(s.found.problems, &edit.Problem{File: name, Reason: edit.InvalidValue, Message: err.Error()})
}

// choose says what a marked place should hold.
func (s *scanner) choose(m edit.Marker, decisions map[group]*held) (imageref.Ref, error) {
	if m.Policy.Namespace != s.namespace {
		return imageref.Ref{}, edit.ErrLeave
	}
	c := s.choices.taken[m.Policy.Name]
	switch {
	case c == nil && !s.choices.known[m.Policy.Name]:
		return imageref.Ref{}, edit.ErrUnknownPolicy
	case c == nil || c.ref.Name == "" || decisions[groupOf(m)] != nil || !s.mine(m.Policy.Name, m.File):
		return imageref.Ref{}, edit.ErrLeave
	}
	if want, err := m.Want(c.ref); err == nil && s.refused[changeKey(m.Place, want)] {
		return imageref.Ref{}, edit.ErrLeave
	}
	return c.ref, nil
}
