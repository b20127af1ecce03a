package demo

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/sluice-cd/sluice/libs/gittest"
)

// nextBranch holds a commit that is made but not pushed yet.
const nextBranch = "next"

// pushAll pushes the commits of the demo one after the other.
func (d *demo) pushAll(ctx context.Context) ([]outcome, error) {
	all := steps(d.images.name)
	c := d.console
	c.line("\n%s", c.paint(bold, fmt.Sprintf("%d pushes.", len(all)))+" The clock starts right before the branch moves; then the git host calls Sluice, signed, as a webhook does.")
	var outcomes []outcome
	for i, s := range all {
		if err := d.pause(ctx); err != nil {
			return nil, err
		}
		push := d.push
		if s.tag != "" {
			push = d.pushImage
		}
		o, err := push(ctx, strconv.Itoa(i+1), s)
		if err != nil {
			return nil, fmt.Errorf("push %d, %s: %w", i+1, s.title, err)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// push makes a commit, pushes it and follows it until the cluster is as it wants.
func (d *demo) push(ctx context.Context, number string, s step) (outcome, error) {
	hash, err := d.commit(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	for _, w := range s.wants {
		if w.holds(d.world.objects[w.object]) {
			return outcome{}, fmt.Errorf("%s is as the commit wants it already", w.object)
		}
	}
	var details []string
	for _, e := range s.edits {
		details = append(details, e.String())
	}
	d.console.pushed(number, s.title, details)
	t := newTracker(d.console, time.Now(), branch+"@sha1:"+hash, s.wants)
	if err := d.repository.SetRef(ctx, "refs/heads/"+branch, hash); err != nil {
		return outcome{}, err
	}
	if err := d.host.pushed(ctx, d.git.URL(source)); err != nil {
		return outcome{}, err
	}
	t.times.asked = time.Since(t.started)
	d.console.stage(0, "pushed", plain, "commit "+hash[:7])
	if err := d.look(ctx, pushTimeout, t, func() bool { return t.done(d.apps) }); err != nil {
		return outcome{}, err
	}
	t.end()
	d.tip = hash
	return outcome{step: s, times: t.times}, d.repository.DeleteRef(ctx, "refs/heads/"+nextBranch)
}

// commit writes the commit of a step into the repository, without moving the branch there.
func (d *demo) commit(ctx context.Context, s step) (hash string, err error) {
	next := maps.Clone(d.files)
	commit := gittest.Commit{Branch: nextBranch, Parent: d.tip, Message: s.title, Files: files{}}
	for _, e := range s.edits {
		if err := e.apply(next); err != nil {
			return "", err
		}
		if e.remove {
			commit.Delete = append(commit.Delete, e.file)
		} else {
			commit.Files[e.file] = next[e.file]
		}
	}
	d.files = next
	return d.repository.Commit(ctx, commit)
}

// pause waits between two pushes, looking on.
func (d *demo) pause(ctx context.Context) error {
	timer := time.NewTimer(d.options.Pause)
	defer timer.Stop()
	for {
		select {
		case s := <-d.sightings:
			d.take(s)
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
