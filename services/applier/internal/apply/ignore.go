package apply

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/sluice-cd/sluice/services/applier/internal/inventory"
)

// IgnoreRule says which fields of which objects are left to others once an object is there.
type IgnoreRule struct {
	paths                                 []pointer
	group, version, kind, name, namespace *regexp.Regexp
	labels, annotations                   labels.Selector
}

// CompileIgnore checks and prepares the rules of a spec. The error names the rule that is wrong.
func CompileIgnore(rules []kustomizev1.IgnoreRule) ([]IgnoreRule, error) {
	compiled := make([]IgnoreRule, len(rules))
	for i, rule := range rules {
		if err := compiled[i].compile(rule); err != nil {
			return nil, fmt.Errorf("ignore rule %d: %w", i+1, err)
		}
	}
	return compiled, nil
}

func (r *IgnoreRule) compile(rule kustomizev1.IgnoreRule) error {
	for _, path := range rule.Paths {
		p, err := parsePointer(path)
		if err != nil {
			return err
		}
		r.paths = append(r.paths, p)
	}
	r.labels, r.annotations = labels.Everything(), labels.Everything()
	if rule.Target == nil {
		return nil
	}
	t := rule.Target
	for _, c := range []struct {
		to   **regexp.Regexp
		text string
	}{{&r.group, t.Group}, {&r.version, t.Version}, {&r.kind, t.Kind}, {&r.name, t.Name}, {&r.namespace, t.Namespace}} {
		if c.text == "" {
			continue
		}
		expression, err := regexp.Compile("^(?:" + c.text + ")$")
		if err != nil {
			return fmt.Errorf("target %q: %w", c.text, err)
		}
		*c.to = expression
	}
	var err error
	if r.labels, err = labels.Parse(t.LabelSelector); err != nil {
		return fmt.Errorf("label selector %q: %w", t.LabelSelector, err)
	}
	if r.annotations, err = labels.Parse(t.AnnotationSelector); err != nil {
		return fmt.Errorf("annotation selector %q: %w", t.AnnotationSelector, err)
	}
	return nil
}

func (r *IgnoreRule) matches(id inventory.ID, version string, l, annotations map[string]string) bool {
	fits := func(e *regexp.Regexp, text string) bool { return e == nil || e.MatchString(text) }
	return fits(r.group, id.Group) && fits(r.version, version) && fits(r.kind, id.Kind) && fits(r.name, id.Name) &&
		fits(r.namespace, id.Namespace) && r.labels.Matches(labels.Set(l)) && r.annotations.Matches(labels.Set(annotations))
}

// ignoredIn returns the fields of an object that the rules leave to others.
func ignoredIn(rules []IgnoreRule, id inventory.ID, version string, l, annotations map[string]string) []pointer {
	var ignored []pointer
	for _, rule := range rules {
		if rule.matches(id, version, l, annotations) {
			ignored = append(ignored, rule.paths...)
		}
	}
	return ignored
}

// ignoredFields returns, as managed fields are written, what the rules leave to others of a live object. A pointer into a list by
// position names no managed field, so a change there counts as one of ours.
func ignoredFields(rules []IgnoreRule, meta *metav1.PartialObjectMetadata, kind schema.GroupKind, version string) *fieldpath.Set {
	if len(rules) == 0 {
		return nil
	}
	id := inventory.ID{Namespace: meta.Namespace, Name: meta.Name, Group: kind.Group, Kind: kind.Kind}
	pointers := ignoredIn(rules, id, version, meta.Labels, meta.Annotations)
	if len(pointers) == 0 {
		return nil
	}
	fields := &fieldpath.Set{}
	for _, p := range pointers {
		path := make(fieldpath.Path, len(p))
		for i := range p {
			path[i] = fieldpath.PathElement{FieldName: &p[i]}
		}
		fields.Insert(path)
	}
	return fields
}

// without returns managed fields with the ignored ones left out; fields that cannot be read stay as they are.
func without(raw []byte, ignored *fieldpath.Set) []byte {
	if ignored == nil {
		return raw
	}
	fields := &fieldpath.Set{}
	if err := fields.FromJSON(bytes.NewReader(raw)); err != nil {
		return raw
	}
	rest, err := fields.RecursiveDifference(ignored).ToJSON()
	if err != nil {
		return raw
	}
	return rest
}

// adopt makes of what Git says what is to be sent to an object that is there: an ignored field that another applier owns is left out,
// and any other gets the value it has, so that it stays as it is.
func (a *attempt) adopt() map[string]any {
	object := deepCopy(a.object)
	for _, p := range a.ignored {
		value, found := p.find(object, a.whole)
		if !found || a.ownedByOthers(p, object) {
			p.remove(object)
			continue
		}
		p.set(object, deepCopyValue(value))
	}
	return object
}

// ownedByOthers reports whether another manager applies the field or part of it.
func (a *attempt) ownedByOthers(p pointer, object map[string]any) bool {
	path := p.path(object)
	for _, entry := range a.managedFields {
		if entry.Operation != metav1.ManagedFieldsOperationApply || isOwn(entry, a.engine.config.FieldManager) || isForeign(entry, a.engine.config.FieldManager) {
			continue
		}
		fields, err := fieldsOf(entry)
		if err != nil {
			continue
		}
		owned := false
		fields.Iterate(func(f fieldpath.Path) {
			n := min(len(f), len(path))
			owned = owned || n > 0 && f[:n].Equals(path[:n]) && len(f) >= len(path)
		})
		if owned {
			return true
		}
	}
	return false
}

// pointer is a JSON pointer, unescaped.
type pointer []string

func parsePointer(text string) (pointer, error) {
	if !strings.HasPrefix(text, "/") || text == "/" {
		return nil, fmt.Errorf("path %q is no JSON pointer to a field", text)
	}
	p := pointer(strings.Split(text[1:], "/"))
	for i := range p {
		p[i] = strings.ReplaceAll(strings.ReplaceAll(p[i], "~1", "/"), "~0", "~")
	}
	for _, kept := range []string{"apiVersion", "kind"} {
		if p[0] == kept {
			return nil, fmt.Errorf("path %q cannot be ignored", text)
		}
	}
	return p, nil
}
