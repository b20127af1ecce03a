package alert

import (
	"regexp"
	"slices"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cd/sluice/services/notifier/internal/news"
)

// Want is why an alert wants a change told.
type Want int

// What an alert can want.
const (
	Nothing Want = iota
	OnlyEnd      // as the end of a failure, of who was told of that
	Always
)

// Labels are those of an object, as long as it exists.
type Labels func() (labels map[string]string, exists bool)

// Wants says whether the alert wants a change told of an object with these labels. With ownNamespace objects of other namespaces are not.
func (a *Alert) Wants(c *news.Change, labels Labels, ownNamespace bool) Want {
	switch {
	case a.Spec.Suspend, c.Time.Before(a.CreationTimestamp.Time), ownNamespace && c.Object.Namespace != a.Namespace:
		return Nothing
	case a.OnlyFailures() && !c.Failed() && !c.Resolved:
		return Nothing
	case !slices.ContainsFunc(a.Spec.EventSources, func(s notifiersv1.CrossNamespaceObjectReference) bool { return a.from(s, c, labels) }):
		return Nothing
	}
	switch listed := (len(a.Spec.InclusionList) == 0 || matchesAny(a.include, c.Message)) && !matchesAny(a.exclude, c.Message); {
	case listed:
		return Always
	case c.Resolved && !c.Failed(): // its text is another than that of the failure that was wanted
		return OnlyEnd
	}
	return Nothing
}

// OnlyFailures says whether the alert wants nothing told but failures and their ends.
func (a *Alert) OnlyFailures() bool { return a.Spec.EventSeverity == eventv1.EventSeverityError }

func (a *Alert) from(s notifiersv1.CrossNamespaceObjectReference, c *news.Change, objectLabels Labels) bool {
	o := c.Object
	namespace := s.Namespace
	if namespace == "" {
		namespace = a.Namespace
	}
	if namespace != o.Namespace || s.Kind != o.Kind || s.Name != "*" && s.Name != o.Name {
		return false
	}
	if s.MatchLabels == nil {
		return true
	}
	known, exists := objectLabels()
	if !exists {
		return c.Resolved // who was told of its failure is told of the end
	}
	return labels.SelectorFromSet(s.MatchLabels).Matches(labels.Set(known))
}

// Groups says whether what a commit changed is one message for the alert: where it wants applications told.
func (a *Alert) Groups() bool {
	return !a.Ungrouped && slices.ContainsFunc(a.Spec.EventSources, func(s notifiersv1.CrossNamespaceObjectReference) bool {
		return s.Kind == kustomizev1.KustomizationKind
	})
}

func matchesAny(list []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(list, func(r *regexp.Regexp) bool { return r.MatchString(text) })
}
