// Package substitute replaces variables in built objects, the way the field
// spec.postBuild of a Kustomization asks for.
//
// The grammar and the functions are those of fluxcd/pkg/envsubst. What this
// package adds are bounds: an expression of a few bytes can stand for terabytes
// (nested replacements), for hours (patterns on long values) or for more stack
// than there is, so the cost of a text is computed before it is evaluated.
// No error says what a variable's value is.
package substitute

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"sigs.k8s.io/yaml"
)

// Key is the label or annotation that, being "disabled", keeps an object as it is.
const Key = "kustomize.toolkit.fluxcd.io/substitute"

const disabled = "disabled"

var validName = regexp.MustCompile(`^[_[:alpha:]][_[:alpha:][:digit:]]*$`)

// Variables are checked names with their values.
type Variables struct {
	values map[string]string
	strict bool
}

// NewVariables merges the sets, a later one over an earlier one. Line breaks
// are taken out of values. In strict mode a text must not use a variable that
// is missing, unless it gives a default. A name that is not a shell variable's
// is an error.
func NewVariables(strict bool, sets ...map[string]string) (Variables, error) {
	v := Variables{values: make(map[string]string), strict: strict}
	for _, set := range sets {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if !validName.MatchString(name) {
				return v, fmt.Errorf("variable name %.100q is invalid, it must match %s", name, validName)
			}
			v.values[name] = strings.ReplaceAll(set[name], "\n", "")
		}
	}
	return v, nil
}

// Len returns the number of variables.
func (v Variables) Len() int { return len(v.values) }

// Values returns the values, for keeping them out of messages.
func (v Variables) Values() []string { return slices.Collect(maps.Values(v.values)) }

// Disabled reports whether the labels or annotations of an object forbid it.
func Disabled(labels, annotations map[string]string) bool {
	return labels[Key] == disabled || annotations[Key] == disabled
}

// Object replaces the variables in an object given and returned as JSON. The
// text in which it happens is the object's YAML, so a value decides the type of
// a field that holds nothing else: true, 5 and [a, b] are no strings then.
func (v Variables) Object(object []byte) ([]byte, error) {
	text, err := yaml.JSONToYAML(object)
	if err != nil {
		return nil, fmt.Errorf("write as YAML: %w", err)
	}
	replaced, err := v.Text(string(text))
	if err != nil {
		return nil, err
	}
	out, err := yaml.YAMLToJSON([]byte(replaced))
	if err != nil {
		// The parser's message can quote the text, and with it a value.
		return nil, fmt.Errorf("the values make it invalid YAML%s", lineIn(err))
	}
	return out, nil
}

// Text replaces the variables in text.
func (v Variables) Text(text string) (out string, err error) {
	if err := v.check(text); err != nil {
		return "", err
	}
	defer func() {
		if recover() != nil { // for example an offset beyond the integers
			err = fmt.Errorf("an expression cannot be evaluated")
		}
	}()
	return envsubst.Eval(text, v.lookup)
}

func (v Variables) lookup(name string) (string, bool) {
	value, ok := v.values[name]
	return value, ok || !v.strict
}

var lineNumber = regexp.MustCompile(`line \d+`)

func lineIn(err error) string {
	if line := lineNumber.FindString(err.Error()); line != "" {
		return " at " + line
	}
	return ""
}
