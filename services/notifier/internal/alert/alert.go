// Package alert reads an Alert: which changes it wants told, with what beside them, and how. It asks nobody.
package alert

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	notifiersv1 "github.com/fluxcd/notification-controller/api/v1"
	notifyv1 "github.com/fluxcd/notification-controller/api/v1beta3"

	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/template"
)

// Annotations of an Alert.
const (
	// GroupingAnnotation set to "off" tells each change by itself where what a commit changed would be one message.
	GroupingAnnotation = kube.AnnotationPrefix + "notify-grouping"
	// AfterFailuresAnnotation is the number of failures in a row, AfterAnnotation the time, after which a failure is told; of both the earlier.
	AfterFailuresAnnotation = kube.AnnotationPrefix + "notify-after-failures"
	AfterAnnotation         = kube.AnnotationPrefix + "notify-after"
	// TemplateAnnotation is a template for the text.
	TemplateAnnotation = kube.AnnotationPrefix + "notify-template"
)

// Alert is an Alert that was read.
type Alert struct {
	*notifyv1.Alert
	// Ungrouped says that each change is told by itself.
	Ungrouped bool
	// AfterFailures and After are when a failure is told; zero for at once.
	AfterFailures int
	After         time.Duration
	// Template makes the text; nil for the usual one.
	Template *template.Template

	include, exclude []*regexp.Regexp
}

// Read reads an Alert. What cannot be read is left out, and the error says what that is: the rest counts.
func Read(a *notifyv1.Alert) (*Alert, error) {
	out := &Alert{Alert: a}
	var errs []error
	note := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	var err error
	out.include, err = compile(a.Spec.InclusionList)
	note("spec.inclusionList", err)
	out.exclude, err = compile(a.Spec.ExclusionList)
	note("spec.exclusionList", err)
	note("spec.eventSources", unknownKinds(a.Spec.EventSources))
	note("annotations", out.readAnnotations(a.Annotations))
	return out, errors.Join(errs...)
}

// unknownKinds says of which kinds nothing will ever be told.
func unknownKinds(sources []notifiersv1.CrossNamespaceObjectReference) error {
	var errs []error
	for _, s := range sources {
		if controllers[s.Kind] == "" {
			errs = append(errs, fmt.Errorf("nothing is told of kind %q", s.Kind))
		}
	}
	return errors.Join(errs...)
}

func compile(list []string) (out []*regexp.Regexp, err error) {
	var errs []error
	for _, text := range list {
		r, err := regexp.Compile(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is no regular expression: %w", text, err))
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}

func (a *Alert) readAnnotations(annotations map[string]string) error {
	var errs []error
	wrong := func(name, want string) {
		errs = append(errs, fmt.Errorf("%s: %q is not %s", name, annotations[name], want))
	}
	switch annotations[GroupingAnnotation] {
	case "", "on":
	case "off":
		a.Ungrouped = true
	default:
		wrong(GroupingAnnotation, "on or off")
	}
	var err error
	if text := annotations[AfterFailuresAnnotation]; text != "" {
		if a.AfterFailures, err = strconv.Atoi(text); err != nil || a.AfterFailures < 1 {
			a.AfterFailures = 0
			wrong(AfterFailuresAnnotation, "a number from 1")
		}
	}
	if text := annotations[AfterAnnotation]; text != "" {
		if a.After, err = time.ParseDuration(text); err != nil || a.After < 0 {
			a.After = 0
			wrong(AfterAnnotation, "a duration such as 10m")
		}
	}
	if text := annotations[TemplateAnnotation]; text != "" {
		if a.Template, err = template.Parse(text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", TemplateAnnotation, err))
		}
	}
	return errors.Join(errs...)
}

// Waits says whether the alert waits before it tells of failures.
func (a *Alert) Waits() bool { return a.AfterFailures > 1 || a.After > 0 }
