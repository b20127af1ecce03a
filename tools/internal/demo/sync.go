package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	firstTimeout = time.Minute
	pushTimeout  = 30 * time.Second
)

// firstSync creates the custom resources and returns when all applications are ready.
func (d *demo) firstSync(ctx context.Context) error {
	if err := d.openEyes(ctx); err != nil {
		return err
	}
	var err error
	if d.resources, err = customResources(d.git.URL(source), d.images.localize); err != nil {
		return err
	}
	d.resources = slices.Insert(d.resources, 1, d.chatResources()...) // after the namespace
	if d.plane.Given() {
		d.onStop(func() error { return d.cluster.remove(d.resources, d.world.appNamespaces()) })
	}
	for _, u := range d.resources {
		if err := d.cluster.apply(ctx, u); err != nil {
			return err
		}
		if u.GetKind() == "Kustomization" {
			d.apps++
		}
	}
	return d.look(ctx, firstTimeout, nil, func() bool { _, all := d.world.isReady(d.apps); return all })
}

// look takes in what is seen until it is enough; t may be nil.
func (d *demo) look(ctx context.Context, timeout time.Duration, t *tracker, enough func() bool) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for !enough() {
		select {
		case s := <-d.sightings:
			action := d.take(s)
			if t != nil {
				t.see(s, action)
			}
		case <-timer.C:
			return d.stuck(timeout, t)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// take takes in what a sighting says about the cluster.
func (d *demo) take(s sighting) (action string) {
	if s.object == nil {
		return ""
	}
	return d.world.take(s.object, s.deleted)
}

// stuck says what did not come within its time, with the log of the service whose turn it was.
func (d *demo) stuck(timeout time.Duration, t *tracker) error {
	turn := "applier"
	switch {
	case t == nil:
	case t.revision == "":
		turn = "image-updater"
	case t.times.fetched == 0:
		turn = "git-watcher"
	case t.times.rendered == 0 && len(t.wants) > 0:
		turn = "manifest-renderer"
	}
	err := fmt.Errorf("the cluster is not as git says after %s%s", timeout, d.complaints())
	for _, r := range d.installation.Replicas(turn) {
		return &loggedError{err, r.Log}
	}
	return err
}

// complaints are the messages of all applications that are not ready.
func (d *demo) complaints() string {
	var b strings.Builder
	apps := d.world.apps()
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		if r := readyOf(apps[name]); r.status != "True" {
			fmt.Fprintf(&b, "\n  %s: Ready=%s %s %s", name, r.status, r.reason, oneLine(r.message))
		}
	}
	return b.String()
}
