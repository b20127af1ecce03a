package news

import (
	"fmt"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/libs/state"
	factsv1 "github.com/sluice-cd/sluice/proto/facts/v1"
	"github.com/sluice-cd/sluice/services/notifier/internal/provider"
)

// Reasons of events that are Flux's where it has one.
const (
	reasonNewArtifact = "NewArtifact"
	reasonProgressing = meta.ProgressingReason
	reasonSucceeded   = meta.SucceededReason
	reasonApplied     = meta.ReconciliationSucceededReason
	reasonDrift       = "DriftRepaired"
	reasonPruned      = "Pruned"
	reasonHeld        = "UpdateHeld"
)

func (t *Tracked) take(f *factsv1.Fact, sequence uint64) *Change {
	switch kind := f.GetKind().(type) {
	case *factsv1.Fact_SourceRevised:
		return t.revised(f, kind.SourceRevised)
	case *factsv1.Fact_SourceFailed:
		return t.fails(f, sequence, Change{Reason: kind.SourceFailed.GetReason(), Message: kind.SourceFailed.GetMessage(), Stage: state.StageGit}, false)
	case *factsv1.Fact_ManifestsRendered:
		return t.rendered(f, kind.ManifestsRendered)
	case *factsv1.Fact_RenderFailed:
		return t.renderFailed(f, sequence, kind.RenderFailed)
	case *factsv1.Fact_Applied:
		return t.applied(f, kind.Applied)
	case *factsv1.Fact_ApplyFailed:
		before, _ := t.pending(mark(f))
		return t.fails(f, sequence, Change{
			Revision: before,
			Reason:   kind.ApplyFailed.GetReason(), Message: kind.ApplyFailed.GetMessage(), Stage: state.StageApply, Commit: true,
		}, t.Touched == mark(f))
	case *factsv1.Fact_HealthChanged:
		return t.health(f, sequence, kind.HealthChanged)
	case *factsv1.Fact_DriftRepaired:
		return t.repaired(f, kind.DriftRepaired)
	case *factsv1.Fact_Pruned:
		return t.pruned(f, kind.Pruned)
	case *factsv1.Fact_ImageFailed:
		return t.fails(f, sequence, Change{Reason: kind.ImageFailed.GetReason(), Message: kind.ImageFailed.GetMessage(), Stage: imageStages[f.GetObject().GetKind()]}, false)
	case *factsv1.Fact_Recovered:
		return t.recovered(f, kind.Recovered)
	}
	return t.image(f)
}

var imageStages = map[string]string{"ImageRepository": state.StageScan, "ImagePolicy": state.StagePolicy, "ImageUpdateAutomation": state.StageUpdate}

// revised is a new revision of a source; the same one told again, as after the loss of the bus, is none.
func (t *Tracked) revised(f *factsv1.Fact, r *factsv1.SourceRevised) *Change {
	if r.GetPreviousRevision() == r.GetRevision() && t.Failing == nil || t.Done == r.GetArtifactDigest() {
		return nil
	}
	t.Done = r.GetArtifactDigest()
	message := fmt.Sprintf("stored artifact for revision '%s'", r.GetRevision())
	if subject := r.GetCommit().GetSubject(); subject != "" {
		message = fmt.Sprintf("stored artifact for commit '%s'", subject)
	}
	c := &Change{State: provider.Informed, Reason: reasonNewArtifact, Message: message, Commit: true, Key: key(f, "revised", r.GetArtifactDigest())}
	t.recovers(c)
	return c
}

// rendered begins the work on a revision that changes what an application is.
func (t *Tracked) rendered(f *factsv1.Fact, r *factsv1.ManifestsRendered) *Change {
	at := mark(f)
	if r.GetUnchanged() || t.Touched == at || t.Applied == f.GetRevision() {
		return nil
	}
	t.Touched, t.Changed, t.ChangedMore, t.Took = at, nil, 0, 0
	return &Change{
		State: provider.Progressing, Reason: reasonProgressing, Message: fmt.Sprintf("%d objects are being applied", r.GetObjectCount()),
		Commit: true, Begun: true, Key: key(f, "rendered", at),
	}
}

func (t *Tracked) renderFailed(f *factsv1.Fact, sequence uint64, r *factsv1.RenderFailed) *Change {
	touched := !r.GetUnchanged()
	if touched {
		t.Touched = mark(f)
	}
	return t.fails(f, sequence, Change{Reason: r.GetReason(), Message: r.GetMessage(), Stage: state.StageRender, Commit: true}, touched)
}

// applied is the end of the work on a revision, or the wait for health.
func (t *Tracked) applied(f *factsv1.Fact, a *factsv1.Applied) *Change {
	at := mark(f)
	t.Run = runOf(f)
	revision, before := t.pending(at)
	if before != "" {
		at = before
	}
	if n := a.GetCounts(); n.GetCreated()+n.GetConfigured()+n.GetPruned() > 0 {
		t.Changed, t.ChangedMore = changedLines(a)
		t.Took = a.GetDuration().AsDuration()
		if t.Done != at {
			t.Touched = at
		}
	}
	if t.Touched != at && t.Failing == nil || t.Done == at && t.Failing == nil {
		return nil
	}
	if !a.GetHealthAwaited() {
		return t.succeeds(f, revision, at, "Applied revision: "+f.GetRevision())
	}
	if before != "" && len(t.Changed) == 0 {
		return nil // as it was told before
	}
	return t.waits(f, revision, at)
}

// waits is told once a revision.
func (t *Tracked) waits(f *factsv1.Fact, revision, at string) *Change {
	return &Change{
		State: provider.Progressing, Reason: reasonProgressing, Message: "Applied revision: " + f.GetRevision() + ", waiting for health" + t.lines(),
		Revision: revision, Commit: true, Changed: t.Changed, ChangedMore: t.ChangedMore, Took: t.Took, Key: key(f, "waits", at),
	}
}

func (t *Tracked) succeeds(f *factsv1.Fact, revision, at, message string) *Change {
	if t.Took > 0 {
		message += " in " + Duration(t.Took)
	}
	c := &Change{
		State: provider.Succeeded, Reason: reasonApplied, Message: message + t.lines(), Revision: revision, Commit: true,
		Changed: t.Changed, ChangedMore: t.ChangedMore, Took: t.Took, Key: key(f, "done", at),
	}
	if t.Failing != nil {
		c.Key = key(f, "resolved", t.Failing.Incident, at)
	}
	t.recovers(c)
	t.Done = at
	t.Changed, t.ChangedMore, t.Took = nil, 0, 0
	return c
}

func (t *Tracked) lines() string {
	if len(t.Changed) == 0 {
		return ""
	}
	text := "\n" + strings.Join(t.Changed, "\n")
	if t.ChangedMore > 0 {
		text += fmt.Sprintf("\nand %d more", t.ChangedMore)
	}
	return text
}

// health ends the wait for it. That healthy objects come and go later is no news.
func (t *Tracked) health(f *factsv1.Fact, sequence uint64, h *factsv1.HealthChanged) *Change {
	at := mark(f)
	revision, before := t.pending(at)
	if before != "" {
		at = before
	}
	switch h.GetTo() {
	case factsv1.Health_HEALTH_HEALTHY:
		if t.Failing == nil && (t.Touched != at || t.Done == at) {
			return nil
		}
		return t.succeeds(f, revision, at, "Applied revision: "+f.GetRevision()+", all objects are healthy")
	case factsv1.Health_HEALTH_FAILED, factsv1.Health_HEALTH_TIMED_OUT:
		return t.fails(f, sequence, Change{Reason: meta.HealthCheckFailedReason, Message: "health check failed: " + h.GetMessage(), Revision: revision, Commit: true}, t.Touched == at)
	}
	return nil
}

func (t *Tracked) repaired(f *factsv1.Fact, d *factsv1.DriftRepaired) *Change {
	var lines []string
	for _, o := range d.GetObjects()[:min(len(d.GetObjects()), maxChanged)] {
		lines = append(lines, changedLine(o))
	}
	return &Change{
		State: provider.Informed, Reason: reasonDrift, Key: key(f, "drift", f.GetId()), Changed: lines, ChangedMore: int(d.GetObjectCount()) - len(lines),
		Message: fmt.Sprintf("%d objects that somebody changed are again what Git says\n%s", d.GetObjectCount(), strings.Join(lines, "\n")),
	}
}

// pruned is news where the application itself was deleted: what is pruned while it is applied is told with that.
func (t *Tracked) pruned(f *factsv1.Fact, p *factsv1.Pruned) *Change {
	if runOf(f) == t.Run && t.Run != "" {
		return nil
	}
	var lines []string
	for _, o := range p.GetObjects()[:min(len(p.GetObjects()), maxChanged)] {
		lines = append(lines, referenceText(o)+" pruned")
	}
	c := &Change{
		State: provider.Informed, Reason: reasonPruned, Key: key(f, "pruned", f.GetId()), Changed: lines, ChangedMore: int(p.GetObjectCount()) - len(lines),
		Message: fmt.Sprintf("pruned %d objects\n%s", p.GetObjectCount(), strings.Join(lines, "\n")),
	}
	t.recovers(c)
	return c
}

func (t *Tracked) recovered(f *factsv1.Fact, r *factsv1.Recovered) *Change {
	if t.Failing == nil {
		return nil
	}
	reason := reasonSucceeded
	if f.GetObject().GetKind() == sourcev1.GitRepositoryKind {
		reason = sourcev1.GitOperationSucceedReason
	}
	c := &Change{State: provider.Succeeded, Reason: reason, Message: r.GetMessage(), Key: key(f, "resolved", t.Failing.Incident)}
	t.recovers(c)
	return c
}

// image is what is told of images.
func (t *Tracked) image(f *factsv1.Fact) *Change {
	switch kind := f.GetKind().(type) {
	case *factsv1.Fact_ImageScanned:
		s := kind.ImageScanned
		return t.once(f, s.GetListingDigest(), Change{Message: fmt.Sprintf("successful scan: found %d tags of %s", s.GetTagCount(), s.GetImage())})
	case *factsv1.Fact_ImageSelected:
		return t.selected(f, kind.ImageSelected)
	case *factsv1.Fact_ImageUpdated:
		return t.updated(f, kind.ImageUpdated)
	case *factsv1.Fact_UpdateHeld:
		h := kind.UpdateHeld
		return &Change{
			State: provider.Informed, Reason: reasonHeld, Key: key(f, "held", f.GetId(), h.GetPresent()),
			Message: fmt.Sprintf("%s stays, %s is not written: %s: %s", h.GetPresent(), h.GetWanted(), h.GetReason(), h.GetMessage()),
		}
	}
	return nil
}

// once is a change to what has a name of its own; that it has the same name as before is no news.
func (t *Tracked) once(f *factsv1.Fact, name string, c Change) *Change {
	if t.Done == name {
		return nil
	}
	t.Done = name
	c.State, c.Reason, c.Key = provider.Informed, reasonSucceeded, key(f, "new", name, f.GetId())
	return &c
}

func (t *Tracked) selected(f *factsv1.Fact, s *factsv1.ImageSelected) *Change {
	name := s.GetImage() + ":" + s.GetTag()
	if s.GetDigest() != "" {
		name += "@" + s.GetDigest()
	}
	message := fmt.Sprintf("Latest image tag for %s resolved to %s", s.GetImage(), s.GetTag())
	if s.GetPrevious() != "" && s.GetPrevious() != name {
		message += fmt.Sprintf(" (previously %s)", s.GetPrevious())
	}
	if t.Done == "" && s.GetPrevious() == name {
		return nil // told again when all was forgotten
	}
	if s.GetHeld() != "" {
		message += "\nheld: " + s.GetHeld()
	}
	return t.once(f, name+" "+s.GetHeld(), Change{Message: message})
}

func (t *Tracked) updated(f *factsv1.Fact, u *factsv1.ImageUpdated) *Change {
	lines := []string{fmt.Sprintf("pushed commit '%.7s' to branch '%s'", u.GetCommit(), u.GetBranch())}
	if u.GetPullRequestUrl() != "" {
		lines[0] += ", pull request " + u.GetPullRequestUrl()
	}
	for _, c := range u.GetChanges()[:min(len(u.GetChanges()), maxChanged)] {
		lines = append(lines, fmt.Sprintf("%s: %s → %s", c.GetPath(), c.GetOldValue(), c.GetNewValue()))
	}
	if more := int(u.GetChangeCount()) - len(lines) + 1; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return t.once(f, u.GetCommit(), Change{Message: strings.Join(lines, "\n")})
}

// runOf is what the facts of one run have in common: the end of their ids.
func runOf(f *factsv1.Fact) string {
	return f.GetId()[strings.LastIndexByte(f.GetId(), '/')+1:]
}

func changedLines(a *factsv1.Applied) (lines []string, more int) {
	for _, o := range a.GetChangedObjects()[:min(len(a.GetChangedObjects()), maxChanged)] {
		lines = append(lines, changedLine(o))
	}
	n := a.GetCounts()
	return lines, int(n.GetCreated()+n.GetConfigured()+n.GetPruned()) - len(lines)
}

var actions = map[factsv1.ChangeAction]string{
	factsv1.ChangeAction_CHANGE_ACTION_CREATED: "created", factsv1.ChangeAction_CHANGE_ACTION_CONFIGURED: "configured",
	factsv1.ChangeAction_CHANGE_ACTION_PRUNED: "pruned",
}

func changedLine(o *factsv1.ChangedObject) string {
	return referenceText(o.GetObject()) + " " + actions[o.GetAction()]
}

func referenceText(o *factsv1.ObjectReference) string {
	return o.GetKind() + "/" + types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}.String()
}

// Commit is what is known of the commit of a revision, to be told with everything that it changed.
type Commit struct {
	Subject  string    `json:"subject,omitempty"`
	Author   string    `json:"author,omitempty"`
	URL      string    `json:"url,omitempty"` // of the repository
	Previous string    `json:"previous,omitempty"`
	Seen     time.Time `json:"seen,omitzero"` // when it was seen at the host
}

// CommitOf reads the commit from a fact; nil where it tells of none.
func CommitOf(f *factsv1.Fact) *Commit {
	r := f.GetSourceRevised()
	if r == nil {
		return nil
	}
	c := &Commit{Subject: r.GetCommit().GetSubject(), Author: r.GetCommit().GetAuthor(), URL: r.GetUrl(), Previous: r.GetPreviousRevision()}
	if r.GetDetectedTime() != nil {
		c.Seen = r.GetDetectedTime().AsTime()
	}
	return c
}

// Images are the values of images that a commit changed.
type Images struct {
	Changes     []Image `json:"changes"`
	More        int     `json:"more,omitempty"`
	PullRequest string  `json:"pullRequest,omitempty"`
}

// Image is one of them.
type Image struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// ImagesOf reads what images a commit changed from a fact, and the commit's hash; nil where it tells of none.
func ImagesOf(f *factsv1.Fact) (*Images, string) {
	u := f.GetImageUpdated()
	if u == nil {
		return nil, ""
	}
	i := &Images{PullRequest: u.GetPullRequestUrl()}
	for _, c := range u.GetChanges()[:min(len(u.GetChanges()), maxChanged)] {
		i.Changes = append(i.Changes, Image{c.GetOldValue(), c.GetNewValue()})
	}
	i.More = int(u.GetChangeCount()) - len(i.Changes)
	return i, u.GetCommit()
}

// Hash is the commit in a revision such as main@sha1:<hash>; empty where it names none.
func Hash(revision string) string {
	_, digest, ok := strings.Cut(revision, "@")
	if !ok {
		digest = revision
	}
	_, hash, ok := strings.Cut(digest, ":")
	if !ok || len(hash) < 7 || strings.Trim(hash, "0123456789abcdef") != "" {
		return ""
	}
	return hash
}
