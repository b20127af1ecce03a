package demo

import (
	"context"
	"path/filepath"
	"time"

	"github.com/sluice-cd/sluice/libs/bus"
)

// handInterval is how often Sluice looks at the repository while people push to it by hand: nobody asks it to.
const handInterval = 5 * time.Second

// stayUp says how to look around and tells what becomes of pushes by hand, until ctx ends.
func (d *demo) stayUp(ctx context.Context) error {
	if err := d.cluster.setInterval(ctx, handInterval); err != nil {
		return err
	}
	d.lookAround()
	var t *tracker
	for {
		select {
		case s := <-d.sightings:
			t = d.follow(t, s)
		case <-ctx.Done():
			return nil // wanted, unless something failed; Run knows
		}
	}
}

// follow passes a sighting to the push that is under way, which may have begun with it.
func (d *demo) follow(t *tracker, s sighting) *tracker {
	action := d.take(s)
	if bus.FactKind(s.fact) == bus.FactSourceRevised && (t == nil || t.revision != s.fact.GetRevision()) {
		t = d.handTracker(s)
	}
	if t == nil {
		d.noticeChange(s, action)
		return nil
	}
	t.see(s, action)
	if t.done(d.apps) {
		t.end()
		return nil
	}
	return t
}

// noticeChange tells of a change that comes from no push.
func (d *demo) noticeChange(s sighting, action string) {
	if action != "" && s.object.GetKind() != "GitRepository" && s.object.GetKind() != "Kustomization" {
		d.console.line("\n %s  %s %s, by somebody else", d.console.paint(warned, "!"), d.console.paint(warned, action), refOf(s.object))
	}
}

// handTracker follows a push that the demo did not make itself. Where it came by HTTP, the clock started with its request.
func (d *demo) handTracker(s sighting) *tracker {
	began, commit := s.at, s.fact.GetSourceRevised().GetCommit()
	if pushed := d.handPush.Swap(nil); pushed != nil {
		began = *pushed
	}
	d.console.pushed("+", commit.GetSubject(), []string{"by " + commit.GetAuthor() + "; noticed at the next look, one each " + handInterval.String()})
	return newTracker(d.console, began, s.fact.GetRevision(), nil)
}

// lookAround says what there is to see, and where.
func (d *demo) lookAround() {
	kubectl := "kubectl --kubeconfig " + d.plane.Kubeconfig()
	c := d.console
	c.line("\n%s", c.paint(bold, "Look around, from another terminal:"))
	c.line("  %s get gitrepositories,kustomizations -A", kubectl)
	c.line("  %s get imagerepositories,imagepolicies,imageupdateautomations -A", kubectl)
	c.line("  %s get deployments,replicasets -A", kubectl)
	c.line("  %s events -n %s", kubectl, namespace)
	c.line("  git clone %s   # change something, push it, and watch it arrive here", d.git.URL(source))
	c.line("  logs of the bus and the services: %s", filepath.Join(d.folder.path, "sluice", "*.log"))
	if !d.plane.Given() {
		c.line("  There are no nodes, so Pods stay Pending.")
	}
	c.line("\n%s", c.paint(bold, "Staying up until Ctrl-C."))
}
