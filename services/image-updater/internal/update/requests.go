package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/libs/stage"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/message"
	"github.com/sluice-cd/sluice/services/image-updater/internal/pullrequest"
)

// reasonClosed is that of an update whose request somebody has closed.
const reasonClosed = "PullRequestClosed"

// request brings each group of changes to a branch of its own, and the request for it up to date.
func (j *job) request(ctx context.Context) (*outcome, error) {
	all, err := j.difference(ctx)
	if err != nil {
		return nil, err
	}
	groups := map[string][]edit.Change{}
	for _, c := range all.changes {
		group := j.target.requests.group(c.Policy.Name, c.File)
		groups[group] = append(groups[group], c)
	}
	total := &outcome{edits: edits{problems: all.problems, held: all.held, again: all.again, skipped: all.skipped}, revision: all.revision}
	j.known.forget(j.target.push, groups)
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		one := *j
		goal := *j.target
		goal.push = branchOf(j.target.push, group)
		one.target, one.group = &goal, &group
		if err := one.requestFor(ctx, group, groups[group], total); err != nil {
			if ends(ctx, err) {
				return nil, err
			}
			total.rest = errors.Join(total.rest, fmt.Errorf("branch %s: %w", goal.push, err))
		}
	}
	return total, nil
}

// ends says whether a failure of one group is one of all.
func ends(ctx context.Context, err error) bool {
	var limit *pullrequest.RateLimitError
	return ctx.Err() != nil || errors.Is(err, stage.ErrLockLost) || errors.As(err, &limit) || errors.Is(err, pullrequest.ErrUnauthorized)
}

// difference is what the base lacks.
func (j *job) difference(ctx context.Context) (*outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, j.target.timeout)
	defer cancel()
	b, err := branch.Open(ctx, branch.Options{Mirrors: j.Mirrors, Source: j.target.source, Push: j.target.requests.base})
	if err != nil {
		return nil, fmt.Errorf("failed to checkout source: %w", err)
	}
	defer func() { _ = b.Close() }()
	s := j.scanner(b.Base())
	if err := s.scan(ctx, j.target.path); err != nil {
		return nil, &editError{fmt.Errorf("failed to apply policies: %w", err)}
	}
	return &outcome{edits: s.found, revision: b.Base().Revision().String()}, nil
}

// requestFor pushes the changes of one group and opens or refreshes the request, unless somebody has closed one that said the same.
func (j *job) requestFor(ctx context.Context, group string, changes []edit.Change, total *outcome) error {
	host := j.target.requests.client
	found, err := host.ByBranch(ctx, j.target.push)
	if err != nil {
		return err
	}
	if changes, err = j.refuse(ctx, found, changes, total); err != nil || len(changes) == 0 {
		return err
	}
	draft, err := j.draft(ctx, group, changes)
	if err != nil {
		return err
	}
	var open *pullrequest.Request
	for _, r := range found {
		if r.State == pullrequest.Open && r.Base == draft.Base && open == nil {
			open = &r
		}
	}
	j.spent = open == nil && len(found) > 0
	result, err := j.push(ctx)
	if err != nil {
		return err
	}
	made, err := j.ensure(ctx, host, open, draft)
	if err != nil {
		return err
	}
	total.rest = errors.Join(total.rest, result.rest, j.furnish(ctx, made, result.head))
	if result.recalled {
		total.recalled = true
		return j.tellPushed(ctx, j.run, j.auto, j.known.Pushed, made.URL)
	}
	return nil
}

// ensure opens the request, or refreshes it where it says something else.
func (j *job) ensure(ctx context.Context, host *pullrequest.Client, open *pullrequest.Request, draft pullrequest.Draft) (pullrequest.Request, error) {
	if err := j.run.Guard(); err != nil {
		return pullrequest.Request{}, err
	}
	if open != nil {
		known, err := host.Get(ctx, open.ID)
		if err != nil || known.State == pullrequest.Open && strings.Contains(known.Body, firstLine(draft.Body)) {
			return known, err
		}
		if known.State == pullrequest.Open {
			return host.Update(ctx, open.ID, draft)
		}
	}
	made, err := host.Create(ctx, draft)
	if errors.Is(err, pullrequest.ErrNoDifference) {
		return made, nil
	}
	return made, err
}

// draft is what the request should be. What strangers wrote is made harmless in the body.
func (j *job) draft(ctx context.Context, group string, changes []edit.Change) (pullrequest.Draft, error) {
	r := j.target.requests
	data := message.Data{AutomationObject: client.ObjectKeyFromObject(j.auto), Changed: message.NewResult(changes), Values: j.target.values}
	title, err := r.title.Execute(ctx, data)
	if err != nil {
		return pullrequest.Draft{}, invalidSource("annotation %s: %w", titleAnnotation, err)
	}
	data.Changed = message.NewResult(harmless(changes))
	body, err := r.body.Execute(ctx, data)
	if err != nil {
		return pullrequest.Draft{}, invalidSource("annotation %s: %w", bodyAnnotation, err)
	}
	content := title + "\x00" + body
	return pullrequest.Draft{
		Head: j.target.push, Base: r.base, Group: j.auto.Namespace + "/" + j.auto.Name + "/" + group, Title: title,
		Body: markOf(changes, content) + "\n" + listOf(changes) + "\n\n" + body,
	}, nil
}

func harmless(changes []edit.Change) []edit.Change {
	safe := slices.Clone(changes)
	for i := range safe {
		c := &safe[i]
		for _, text := range []*string{&c.File, &c.Value, &c.New, &c.Object.Kind, &c.Object.Name, &c.Object.Namespace, &c.Object.APIVersion} {
			*text = pullrequest.Escape(*text)
		}
	}
	return safe
}

// markOf is a line that hosts hide: a digest of what a request would write, and of what it says of it.
func markOf(changes []edit.Change, content string) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = changeKey(c.Place, c.New)
	}
	slices.Sort(lines)
	return "[//]: # (sluice-update:" + digest(strings.Join(lines, "\n")) + ":" + digest(content) + ")"
}

// changeKey names a value at a place.
func changeKey(p edit.Place, value string) string {
	return fmt.Sprintf("%q %q %q %q", p.File, p.Object, p.Path, value)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
