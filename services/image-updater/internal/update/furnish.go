package update

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// furnish gives a request what it is to have beside its texts, each once: what somebody takes away again stays away. What fails is tried by
// the next run, unless the host cannot do it at all.
func (j *job) furnish(ctx context.Context, made pullrequest.Request, head string) error {
	if made.ID == 0 { // without a difference there is no request
		return nil
	}
	done := j.known.Requests[j.target.push]
	if done.ID != made.ID {
		done = furnished{ID: made.ID}
	}
	if last := j.known.Pushed; last != nil && last.Branch == j.target.push {
		done.Head = last.Commit
	}
	r := j.target.requests
	failures := slices.DeleteFunc([]error{
		once(ctx, &done.Labels, done.ID, r.labels, r.client.Label),
		once(ctx, &done.Reviewers, done.ID, r.reviewers, r.client.Ask),
		done.merge(ctx, r, made, head),
	}, func(err error) bool { return err == nil })
	j.known.Requests[j.target.push] = done
	if len(failures) == 0 {
		return nil
	}
	return &incompleteError{
		error: fmt.Errorf("pull request %s is open but not complete: %w", made.URL, errors.Join(failures...)),
		final: !slices.ContainsFunc(failures, func(err error) bool { return !errors.Is(err, pullrequest.ErrUnsupported) }),
	}
}

// once adds names to a request unless these were added.
func once(ctx context.Context, done *string, id int64, names []string, add func(context.Context, int64, []string) error) error {
	want := ""
	if len(names) > 0 {
		want = digest(fmt.Sprintf("%q", names))
	}
	if want == *done {
		return nil
	}
	if err := add(ctx, id, names); err != nil {
		return err
	}
	*done = want
	return nil
}

// merge asks the host to merge the request by itself, and again at each commit that is pushed for it: some hosts forget it then. Where somebody
// else has pushed, it is theirs to ask.
func (f *furnished) merge(ctx context.Context, r *requests, made pullrequest.Request, head string) error {
	if !r.autoMerge || f.Merge == head || f.Merge != "" && f.Head != head {
		return nil
	}
	if made.Commit != "" && made.Commit != head {
		return fmt.Errorf("the host does not know commit %.7s yet", head)
	}
	if err := r.client.AutoMerge(ctx, f.ID); err != nil {
		return err
	}
	f.Merge = head
	return nil
}

// forget drops what was done for groups that have nothing to change any more.
func (r *record) forget(push string, groups map[string][]edit.Change) {
	present := map[string]bool{}
	for group := range groups {
		present[branchOf(push, group)] = true
	}
	for name := range r.Requests {
		if !present[name] {
			delete(r.Requests, name)
		}
	}
}

// incompleteError is about a request that is open but lacks what was asked for. Where it is final, another try changes nothing.
type incompleteError struct {
	error
	final bool
}

func (e *incompleteError) Unwrap() error { return e.error }
