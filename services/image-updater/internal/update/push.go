package update

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/git"
	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/image-updater/internal/message"
)

const (
	// attempts is how often a run tries to push where others are quicker.
	attempts = 20
	maxPause = 2 * time.Second
	// maxGenerations is how far a branch is followed back to see whether it stands on a commit.
	maxGenerations = 256
	// maxNoted is how many changes of a commit are remembered and told.
	maxNoted = 100
)

// job is one run's work on a branch.
type job struct {
	*updater
	run     *stage.Run
	shared  *stage.Shared
	auto    *automationv1.ImageUpdateAutomation
	target  *target
	choices *choices
	known   *record
	// verdicts are those about images of annotated workloads.
	verdicts map[wanted]*verdict
	// group restricts the run to the changes of one pull request.
	group *string
	// refused are changes, by key, whose request somebody has closed.
	refused map[string]bool
	// spent says that the last request of the branch was merged or closed, and with it all that is there.
	spent bool
}

// outcome is what a run came to.
type outcome struct {
	edits
	revision string // of what was checked out
	head     string // commit of the branch to push to, once it is there
	recalled bool   // the last run's commit is in the branch, and nobody was told
	rest     error  // why something is left undone beside the commit
}

// push brings the branch to what the policies chose. Where somebody else was quicker, it begins again with what they pushed.
func (j *job) push(ctx context.Context) (*outcome, error) {
	for attempt := 1; ; attempt++ {
		result, err := j.once(ctx)
		if !errors.Is(err, git.ErrRaceLost) || attempt == attempts {
			return result, err
		}
		select {
		case <-time.After(rand.N(min(20*time.Millisecond<<min(attempt, 10), maxPause))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (j *job) once(ctx context.Context) (*outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, j.target.timeout, fmt.Errorf("it took longer than %s", j.target.timeout))
	defer cancel()
	b, err := branch.Open(ctx, branch.Options{Mirrors: j.Mirrors, Source: j.target.source, Push: j.target.push})
	if err != nil {
		return nil, fmt.Errorf("failed to checkout source: %w", err)
	}
	defer func() { _ = b.Close() }()
	result := &outcome{revision: b.Base().Revision().String()}
	if b.Exists() {
		result.head = b.Head().Hash()
	}
	if err := j.recall(ctx, b, result); err != nil {
		return nil, err
	}
	onto, merge, err := j.stand(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("failed to checkout source: %w", err)
	}
	s := j.scanner(onto)
	if err := s.scan(ctx, j.target.path); err != nil {
		return nil, &editError{fmt.Errorf("failed to apply policies: %w", err)}
	}
	result.edits = s.found
	if len(s.found.files) == 0 {
		return result, nil
	}
	return result, j.commit(ctx, b, onto, merge, result)
}

// stand is the commit whose files are edited. Where the branch to push to lacks what its base has by now, that is the base, and the commit
// stands on both: so the branch comes up to date. One whose request was closed begins with the files of its base again. But where somebody else works on the branch, its own files are edited and theirs stay.
func (j *job) stand(ctx context.Context, b *branch.Branch) (onto *branch.Head, merge []*branch.Head, err error) {
	if !b.Exists() || b.Head().Hash() == b.Base().Hash() {
		return b.Head(), nil, nil
	}
	found, _, err := b.Head().Contains(ctx, b.Base().Hash(), maxGenerations)
	switch {
	case err != nil:
		return nil, nil, err
	case found && j.spent:
		return b.Base(), nil, nil
	case found:
		return b.Head(), nil, nil
	}
	if others, err := b.Others(ctx, j.target.author, maxGenerations); err != nil || others && !j.spent {
		return b.Head(), nil, err
	}
	return b.Base(), []*branch.Head{b.Base()}, nil
}

// recall looks whether the commit that an earlier run was about to push, before it ended without a word, is in the branch.
func (j *job) recall(ctx context.Context, b *branch.Branch, result *outcome) error {
	last := j.known.Pushed
	if last == nil || last.Branch != j.target.push || last.Concluded && last.Rest == "" {
		return nil
	}
	found, known, err := b.Head().Contains(ctx, last.Commit, maxGenerations)
	if err != nil {
		return fmt.Errorf("failed to checkout source: %w", err)
	}
	if !found && known || !b.Exists() {
		j.known.Pushed = nil
	}
	if found && b.Exists() {
		result.recalled = !last.Concluded
		result.rest = j.bring(ctx, b, last)
	}
	return nil
}

// bring does what an earlier push left undone, as long as that is still asked for.
func (j *job) bring(ctx context.Context, b *branch.Branch, last *pushed) error {
	if last.Rest == j.target.options.Refspec && last.Rest != "" {
		if err := b.Bring(ctx, last.Commit, j.target.options); err != nil {
			return fmt.Errorf("failed to update source: %w", err)
		}
	}
	last.Rest = ""
	return nil
}

// commit makes the commit, notes it, and pushes it.
func (j *job) commit(ctx context.Context, b *branch.Branch, onto *branch.Head, merge []*branch.Head, result *outcome) error {
	text, err := j.message(ctx, result)
	if err != nil {
		return err
	}
	made, err := b.Commit(ctx, branch.Draft{
		Changes: result.files, Message: text, Author: j.target.author, When: time.Now(), Signer: j.target.signer, Onto: onto, Merge: merge,
	})
	if errors.Is(err, branch.ErrUnchanged) {
		return nil
	}
	if err != nil {
		return &editError{fmt.Errorf("failed to update source: %w", err)}
	}
	if result.recalled { // by this run, after another one had ended without a word
		if err := j.tellPushed(ctx, j.run, j.auto, j.known.Pushed, ""); err != nil {
			return err
		}
	}
	if err := j.note(ctx, made, text, result); err != nil {
		return err
	}
	err = b.Push(ctx, made, j.target.options)
	var partial *branch.PartialError
	if err != nil {
		err = fmt.Errorf("failed to update source: %w", err)
		if !errors.As(err, &partial) {
			return err
		}
	} else {
		j.known.Pushed.Rest = ""
	}
	result.recalled, result.head, result.rest = true, made.Hash, err
	if b.Base().Revision().Reference == b.Ref() {
		at := b.Base().Revision()
		at.Hash = made.Hash
		result.revision = at.String()
	}
	j.run.Log.Info("pushed commit", "revision", made.Hash, "branch", j.target.push, "files", len(made.Paths), "changes", len(result.changes))
	return nil
}

func (j *job) message(ctx context.Context, result *outcome) (string, error) {
	text, err := j.target.template.Execute(ctx, message.Data{
		AutomationObject: client.ObjectKeyFromObject(j.auto), Changed: message.NewResult(result.changes), Values: j.target.values,
	})
	switch {
	case errors.Is(err, message.ErrRemoved):
		return "", &specError{automationv1.RemovedTemplateFieldReason, true, err}
	case err != nil:
		return "", &specError{automationv1.UpdateFailedReason, false, fmt.Errorf("failed to run template from spec: %w", err)}
	}
	return text, nil
}

// note writes down, before the push, what is about to be pushed: so that whoever goes on after this process ended knows it, and so that what
// somebody sets back right after it is known to have been written.
func (j *job) note(ctx context.Context, made *branch.Commit, text string, result *outcome) error {
	j.known.Pushed = &pushed{Commit: made.Hash, URL: display(j.target.source.URL), Branch: j.target.push, Message: text, Count: len(result.changes), Rest: j.target.options.Refspec}
	for _, c := range result.changes[:min(len(result.changes), maxNoted)] {
		j.known.Pushed.Changes = append(j.known.Pushed.Changes, change{Policy: c.Policy.Name, Path: c.File, Old: c.Value, New: c.New})
	}
	for _, c := range result.changes {
		if one := j.choices.taken[c.Policy.Name]; one != nil {
			j.known.Written[c.Policy.Name] = written{one.ref.String(), j.known.Written[c.Policy.Name].Rule}
		}
	}
	for _, w := range result.writing {
		j.known.Written[w.key] = written{Ref: w.ref}
	}
	if err := j.run.Save(ctx, j.known); err != nil {
		return err
	}
	if err := j.run.Guard(); err != nil {
		return err
	}
	if err := j.shared.Guard(); err != nil {
		return err
	}
	return nil
}

// display is an address without what may be secret in it.
func display(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// editError is a failure that is not git's.
type editError struct{ error }

func (e *editError) Unwrap() error { return e.error }
