package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	automationv1 "github.com/fluxcd/image-automation-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/libs/git/branch"
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
	"github.com/sluice-cd/sluice/services/image-updater/internal/policy"
)

// strategyAnnotation on an automation set to Workloads makes it follow the annotations of Flux v1 on workloads, and no markers.
const (
	strategyAnnotation = "sluice.dev/update-strategy"
	strategyWorkloads  = "Workloads"
	strategySetters    = string(automationv1.UpdateStrategySetters)
)

// Reasons of problems with images, as conditions and Events give them.
const (
	reasonInvalidFilter = edit.Reason("InvalidFilter")
	reasonUnknownImage  = edit.Reason("UnknownImage")
	reasonNoLogin       = edit.Reason("AuthenticationFailed")
	reasonNoAnswer      = edit.Reason("RegistryUnavailable")
	reasonInsecure      = edit.Reason(meta.InsecureConnectionsDisallowedReason)
	reasonVanished      = "TagVanished"
	reasonExcluded      = "ImageExcluded"
	reasonPinned        = "PinnedByDigest"
)

func byWorkloads(auto *automationv1.ImageUpdateAutomation) bool {
	return auto.Annotations[strategyAnnotation] == strategyWorkloads
}

// insecureAnnotation on an automation is a list, with commas and * for any part of a name, of registries that may be asked over plain HTTP for
// images of workloads, as far as the settings allow it.
const insecureAnnotation = "sluice.dev/insecure-registries"

// checkStrategy refuses a word that means nothing.
func checkStrategy(auto *automationv1.ImageUpdateAutomation) error {
	switch word := auto.Annotations[strategyAnnotation]; word {
	case "", strategySetters, strategyWorkloads:
		return nil
	default:
		return &specError{automationv1.InvalidUpdateStrategyReason, true, fmt.Errorf("annotation %s says %.50q; it can say %s or %s", strategyAnnotation, word, strategySetters, strategyWorkloads)}
	}
}

// survey finds the images that the annotated workloads of the branch run, and decides about them, before the branch is locked: registries may
// take their time.
func (j *job) survey(ctx context.Context) error {
	if !byWorkloads(j.auto) {
		return nil
	}
	all, err := j.findWanted(ctx)
	if err != nil {
		return err
	}
	ask := &images{updater: j.updater, every: max(j.auto.Spec.Interval.Duration, least), insecure: list(j.auto.Annotations[insecureAnnotation])}
	if requested := kube.RequestedAt(j.auto); requested != "" && requested != j.auto.Status.LastHandledReconcileAt {
		ask.since = time.Now().UTC()
	}
	j.verdicts = ask.decideAll(ctx, all)
	return nil
}

func (j *job) findWanted(ctx context.Context) ([]wanted, error) {
	ctx, cancel := context.WithTimeout(ctx, j.target.timeout)
	defer cancel()
	b, err := branch.Open(ctx, branch.Options{Mirrors: j.Mirrors, Source: j.target.source, Push: j.target.push})
	if err != nil {
		return nil, fmt.Errorf("failed to checkout source: %w", err)
	}
	defer func() { _ = b.Close() }()
	onto, _, err := j.stand(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("failed to checkout source: %w", err)
	}
	var all []wanted
	s := j.scanner(onto)
	err = s.each(ctx, j.target.path, func(_ context.Context, name string, data []byte) error {
		if !edit.HasAutomation(data) {
			return nil
		}
		f, err := edit.Parse(name, data)
		if err != nil {
			return nil // which is told when the file is edited
		}
		workloads, _ := f.Workloads()
		for _, w := range workloads {
			for _, c := range w.Containers {
				if w.Automated && !w.Ignored {
					all = append(all, s.wantedOf(w, c))
				}
			}
		}
		return nil
	})
	return all, err
}

// wantedOf says what a container needs. The secrets of other namespaces than the automation's are not for it where references across
// namespaces are forbidden.
func (s *scanner) wantedOf(w edit.Workload, c edit.Container) wanted {
	want := wanted{name: c.Image.Name, filter: c.Filter, namespace: w.Object.Namespace, serviceAccount: w.ServiceAccount, pullSecrets: strings.Join(w.PullSecrets, ",")}
	if c.Image.Digest != "" {
		want.pinned = c.Image
	}
	if want.namespace == "" {
		want.namespace = s.namespace
	}
	if s.Env.NoCrossNamespaceRefs && want.namespace != s.namespace {
		want.namespace, want.serviceAccount, want.pullSecrets = s.namespace, "", ""
	}
	return want
}

// workloads brings the annotated workloads of one file to what was decided.
func (s *scanner) workloads(ctx context.Context, name string, data []byte) error {
	if !edit.HasAutomation(data) {
		return nil
	}
	f, err := edit.Parse(name, data)
	if err != nil {
		var p *edit.Problem
		if errors.As(err, &p) {
			s.found.problems = append(s.found.problems, p)
		}
		return nil
	}
	list, problems := f.Workloads()
	s.found.problems = append(s.found.problems, problems...)
	var replacements []edit.Replacement
	for _, w := range list {
		for _, c := range w.Containers {
			if !w.Automated || w.Ignored || !s.mine("", w.File) {
				continue
			}
			more, err := s.container(ctx, w, c)
			if err != nil {
				return err
			}
			replacements = append(replacements, more...)
		}
	}
	if len(replacements) == 0 {
		return nil
	}
	edited, err := f.Apply(replacements)
	if err != nil {
		s.unedited(name, err)
		return nil
	}
	s.found.files[name] = edited
	for _, r := range replacements {
		s.found.changes = append(s.found.changes, edit.Change{Place: r.Place, New: r.Value})
	}
	return nil
}

// container says what of a container's image is to be replaced.
func (s *scanner) container(ctx context.Context, w edit.Workload, c edit.Container) ([]edit.Replacement, error) {
	v := s.verdicts[s.wantedOf(w, c)]
	switch {
	case v == nil: // came after the survey
		s.again(time.Second)
		return nil, nil
	case v.problem != nil:
		s.found.problems = append(s.found.problems, problemOf(w, c, v.problem))
		return nil, nil
	case v.again > 0:
		s.again(v.again)
		return nil, nil
	case v.excluded:
		s.found.held = append(s.found.held, held{
			Policy: workloadKey(w, c), Place: fmt.Sprintf("%s:%d", w.File, w.Line), Present: c.Image.String(), Reason: reasonExcluded,
			Message: "the settings of image-updater leave this image out",
		})
		return nil, nil
	case v.tag == "" || v.tag == c.Image.Tag:
		return nil, nil
	}
	ref := imageref.Ref{Name: c.Image.Name, Tag: v.tag, Digest: v.digest}
	key := workloadKey(w, c)
	h, err := s.containerObjection(ctx, w, c, v, ref)
	if err != nil {
		return nil, err
	}
	if h != nil {
		h.Policy, h.Present, h.Wanted = key, c.Image.String(), ref.String()
		h.Place = fmt.Sprintf("%s:%d", w.File, w.Line)
		s.found.held = append(s.found.held, *h)
		return nil, nil
	}
	list, err := c.Set(ref)
	if err != nil {
		s.found.problems = append(s.found.problems, problemOf(w, c, err))
		return nil, nil
	}
	if slices.ContainsFunc(list, func(r edit.Replacement) bool { return s.refused[changeKey(r.Place, r.Value)] }) {
		return nil, nil
	}
	if len(list) > 0 {
		s.found.writing = append(s.found.writing, wrote{key, ref.String()})
	}
	return list, nil
}

// workloadKey names a container as records and messages do; the record's other keys are names of policies, which have no slash.
func workloadKey(w edit.Workload, c edit.Container) string {
	return fmt.Sprintf("%s/%s/%s", w.File, w.Object, c.Name)
}

// containerObjection says why what was decided must not replace a container's image.
func (s *scanner) containerObjection(ctx context.Context, w edit.Workload, c edit.Container, v *verdict, ref imageref.Ref) (*held, error) {
	if w.Locked {
		return &held{Reason: reasonLocked, Message: strings.TrimSuffix(fmt.Sprintf("locked by %s: %s", orNobody(w.LockedBy), w.LockedFor), ": ")}, nil
	}
	if why, until := onHold(w.Notes, time.Now()); why != "" {
		if !until.IsZero() {
			s.again(max(time.Until(until), time.Second))
		}
		return &held{Reason: reasonOnHold, Message: why}, nil
	}
	if v.held != "" {
		return &held{Reason: "TagsVanished", Message: v.held}, nil
	}
	if c.Image.Tag == "" && c.Image.Digest != "" && !w.Lowers {
		return &held{Reason: reasonPinned, Message: fmt.Sprintf("the image is named by its digest alone, so %s may be older; write the tag beside the digest, or annotation %s: \"true\" on the workload", v.tag, downgradeAnnotation)}, nil
	}
	present, listed := v.tags[c.Image.Tag]
	if !listed {
		present = policy.Tag{Name: c.Image.Tag}
	}
	order, ranked := v.policy.Rank(present, v.tags[v.tag])
	switch {
	case w.Lowers || c.Image.Tag == "":
	case ranked && order > 0:
		return &held{Reason: reasonDowngrade, Message: fmt.Sprintf("%s ranks below %s, which is there; annotation %s: \"true\" on the workload lets it be written", v.tag, c.Image.Tag, downgradeAnnotation)}, nil
	case !listed && s.known.Written[workloadKey(w, c)].Ref != "":
		return &held{Reason: reasonVanished, Message: fmt.Sprintf("tag %s, which is there, has vanished from the registry; annotation %s: \"true\" on the workload lets %s be written", c.Image.Tag, downgradeAnnotation, v.tag)}, nil
	case v.policy.Unknown(present):
		return &held{Reason: reasonUnknownAge, Message: fmt.Sprintf("when %s, which is there, was built is not known, so %s may be older; annotation %s: \"true\" on the workload lets it be written", c.Image.Tag, v.tag, downgradeAnnotation)}, nil
	}
	return s.containerRolledBack(ctx, w, c, v, ref)
}

func orNobody(user string) string {
	if user == "" {
		return "somebody"
	}
	return user
}

// containerRolledBack objects to an image that somebody has set back.
func (s *scanner) containerRolledBack(ctx context.Context, w edit.Workload, c edit.Container, v *verdict, ref imageref.Ref) (*held, error) {
	key := workloadKey(w, c)
	before, isHeld := s.known.Holds[key]
	if isHeld && before.Ref != ref.String() {
		if order, ranked := v.policy.Rank(v.tags[v.tag], v.tags[before.Tag]); !ranked || order > 0 {
			isHeld = false
		}
	}
	if !isHeld {
		if s.known.never(key, ref.String()) {
			return nil, nil
		}
		found, err := s.search(ctx, w.File, ref, c.Image.String(), containerKey(w.Object, c, ref))
		if err != nil || found == nil {
			return nil, err
		}
		before = *found
		s.known.Holds[key] = before
	}
	return &held{Reason: reasonRolledBack, Message: before.String()}, nil
}

func problemOf(w edit.Workload, c edit.Container, err error) *edit.Problem {
	reason := reasonNoAnswer
	var access *imageaccess.Error
	switch {
	case errors.Is(err, errInsecure):
		reason = reasonInsecure
	case errors.Is(err, policy.ErrInvalid):
		reason = reasonInvalidFilter
	case errors.Is(err, imageref.ErrInvalid):
		reason = edit.InvalidTarget
	case errors.Is(err, registry.ErrUnauthorized), errors.As(err, &access):
		reason = reasonNoLogin
	case errors.Is(err, registry.ErrNotFound):
		reason = reasonUnknownImage
	}
	return &edit.Problem{File: w.File, Line: w.Line, Reason: reason, Message: fmt.Sprintf("%s, container %s: %v", w.Object, c.Name, err)}
}
