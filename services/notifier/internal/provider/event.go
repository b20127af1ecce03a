package provider

import (
	"maps"
	"slices"
	"strings"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
)

// Metadata of an event that is passed on.
const (
	maxMetadata      = 50
	maxMetadataName  = 100  // characters
	maxMetadataValue = 1000 // characters
	maxEventText     = 8000 // characters of its message
)

// exact is text for machines and their dashboards, which must find what was meant.
var exact = markup{escape: func(r rune) string { return string(r) }, size: characters, newline: "\n"}

// objectName is how Flux's notifications name an object: kustomization/web.apps.
func objectName(e eventv1.Event) string {
	return exact.line(strings.ToLower(e.InvolvedObject.Kind)+"/"+e.InvolvedObject.Name+"."+e.InvolvedObject.Namespace, maxObject)
}

// metadataOf is an event's metadata in a fixed order, each value in one line.
func metadataOf(e eventv1.Event) []Field {
	var found []Field
	for _, name := range slices.Sorted(maps.Keys(e.Metadata)) {
		if len(found) < maxMetadata {
			found = append(found, Field{exact.line(name, maxMetadataName), exact.line(e.Metadata[name], maxMetadataValue)})
		}
	}
	return slices.DeleteFunc(found, func(f Field) bool { return f.Name == "" || f.Value == "" })
}

func metadataMap(e eventv1.Event) map[string]string {
	found := map[string]string{}
	for _, f := range metadataOf(e) {
		found[f.Name] = f.Value
	}
	return found
}

// failed says that m tells of a failure, and not of its end.
func (m Message) failed() bool {
	return m.Event.Severity == eventv1.EventSeverityError && !m.Resolved
}

// incident is what a service groups by.
func (m Message) incident() string {
	if m.Incident == "" {
		return m.Key
	}
	return m.Incident
}

// summary is the one line about m.
func (m Message) summary(n int) string {
	if title := oneLine(m.Content.Title); title != "" {
		return exact.fit(title, n)
	}
	return exact.line(m.Event.Reason+": "+objectName(m.Event), n)
}

// text is an event's message as it is, in several lines.
func (m Message) text(n int) string { return exact.fit(lines(m.Event.Message), n) }
