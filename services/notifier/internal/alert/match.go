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

// Matches says whether the alert wants a change told of an object with these labels. What ends a failure is wanted by whoever wants failures.
// With ownNamespace objects of other namespaces are not.
func (a *Alert) Matches(c *news.Change, labels func() map[string]string, ownNamespace bool) bool {
	switch {
	case a.Spec.Suspend, c.Time.Before(a.CreationTimestamp.Time), ownNamespace && c.Object.Namespace != a.Namespace:
		return false
	case a.OnlyFailures() && !c.Failed() && !c.Resolved:
		return false
	case !slices.ContainsFunc(a.Spec.EventSources, func(s notifiersv1.CrossNamespaceObjectReference) bool { return a.from(s, c.Object, labels) }):
		return false
	}
	if c.Resolved && !c.Failed() {
		return true // its text is another than that of the failure that was wanted
	}
	return (len(a.Spec.InclusionList) == 0 || matchesAny(a.include, c.Message)) && !matchesAny(a.exclude, c.Message)
}

// OnlyFailures says whether the alert wants nothing told but failures and their ends.
func (a *Alert) OnlyFailures() bool { return a.Spec.EventSeverity == eventv1.EventSeverityError }

func (a *Alert) from(s notifiersv1.CrossNamespaceObjectReference, o news.Object, objectLabels func() map[string]string) bool {
	namespace := s.Namespace
	if namespace == "" {
		namespace = a.Namespace
	}
	if namespace != o.Namespace || s.Kind != o.Kind || s.Name != "*" && s.Name != o.Name {
		return false
	}
	return s.MatchLabels == nil || labels.SelectorFromSet(s.MatchLabels).Matches(labels.Set(objectLabels()))
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
