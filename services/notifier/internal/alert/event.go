package alert

import (
	"slices"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/notifier/internal/news"
)

// objectPrefix is that of the annotations of an object that are told with its events.
const objectPrefix = eventv1.Group + "/"

// summaryKey is under what spec.summary is told.
const summaryKey = "summary"

// controllers are the names under which events of these kinds are known.
var controllers = map[string]string{
	"GitRepository": "source-controller", "Kustomization": "kustomize-controller", "ImageRepository": "image-reflector-controller",
	"ImagePolicy": "image-reflector-controller", "ImageUpdateAutomation": "image-automation-controller",
}

// Event is a change in Flux's form, with what object and alert say beside it. conflicts are the keys that more than one of them sets.
func (a *Alert) Event(c *news.Change, annotations map[string]string, resourceVersion string) (event eventv1.Event, conflicts []string) {
	event = eventv1.Event{
		InvolvedObject: corev1.ObjectReference{
			Kind: c.Object.Kind, Namespace: c.Object.Namespace, Name: c.Object.Name, UID: uid(c.Object.UID), APIVersion: c.Object.APIVersion,
			ResourceVersion: resourceVersion,
		},
		Severity: c.Severity, Timestamp: metav1.NewTime(c.Time), Message: clip(c.Message, maxMessage), Reason: c.Reason,
		ReportingController: controllers[c.Object.Kind], ReportingInstance: "sluice",
	}
	event.Metadata, conflicts = a.metadata(c, annotations)
	return event, conflicts
}

// metadata puts together what is told beside an event; of several sources of a key the last wins: annotations of the object, spec.eventMetadata,
// spec.summary, what the event itself says.
func (a *Alert) metadata(c *news.Change, annotations map[string]string) (map[string]string, []string) {
	out, conflicts := map[string]string{}, []string{}
	set := func(key, value string) {
		if _, there := out[key]; there && !slices.Contains(conflicts, key) {
			conflicts = append(conflicts, key)
		}
		out[key] = value
	}
	for key, value := range annotations {
		if name, ours := strings.CutPrefix(key, objectPrefix); ours {
			set(name, value)
		}
	}
	for key, value := range a.Spec.EventMetadata {
		set(key, value)
	}
	if a.Spec.Summary != "" {
		set(summaryKey, a.Spec.Summary)
	}
	if c.Revision != "" {
		set(eventv1.MetaRevisionKey, c.Revision)
	}
	slices.Sort(conflicts)
	return out, conflicts
}

// maxMessage keeps letters small; the form's own limit is 39,000.
const maxMessage = 8 << 10

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-4], "") + " …"
}

func uid(text string) types.UID { return types.UID(text) }
