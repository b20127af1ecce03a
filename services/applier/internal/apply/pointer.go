package apply

import (
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

func deepCopy(object map[string]any) map[string]any { return runtime.DeepCopyJSON(object) }

func deepCopyValue(v any) any { return runtime.DeepCopyJSONValue(v) }

// parseWhole reads an object as unstructured objects are: whole numbers are int64.
func parseWhole(raw []byte) (map[string]any, error) {
	var object map[string]any
	err := json.Unmarshal(raw, &object)
	return object, err
}

// index reads a position in a list.
func index(token string, list []any) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && i < len(list)
}

// step goes one token down.
func step(at any, token string) (any, bool) {
	switch at := at.(type) {
	case map[string]any:
		next, ok := at[token]
		return next, ok
	case []any:
		if i, ok := index(token, at); ok {
			return at[i], true
		}
	}
	return nil, false
}

// find returns the value that a field of what Git says has in the live object. Items of lists are found by their names where they
// have some, as others may have put theirs between.
func (p pointer) find(git, live any) (any, bool) {
	for _, token := range p {
		if list, ok := live.([]any); ok {
			live, ok = sameItem(git, token, list)
			if !ok {
				return nil, false
			}
		} else if live, ok = step(live, token); !ok {
			return nil, false
		}
		git, _ = step(git, token)
	}
	return live, true
}

func sameItem(git any, token string, live []any) (any, bool) {
	name := nameOf(git, token)
	if name == "" {
		return step(live, token)
	}
	at := slices.IndexFunc(live, func(item any) bool {
		m, ok := item.(map[string]any)
		return ok && m["name"] == name
	})
	if at < 0 {
		return nil, false
	}
	return live[at], true
}

// nameOf returns the name of an item of a list, empty if it has none.
func nameOf(list any, token string) string {
	item, _ := step(list, token)
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// path returns the pointer as managed fields are written, for items of lists that go by their names.
func (p pointer) path(git any) fieldpath.Path {
	path := make(fieldpath.Path, len(p))
	for i := range p {
		path[i] = fieldpath.PathElement{FieldName: &p[i]}
		if name := nameOf(git, p[i]); name != "" {
			if _, ok := git.([]any); ok {
				path[i] = fieldpath.PathElement{Key: &value.FieldList{{Name: "name", Value: value.NewValueInterface(name)}}}
			}
		}
		git, _ = step(git, p[i])
	}
	return path
}

// remove takes a field out of an object.
func (p pointer) remove(object map[string]any) {
	var at any = object
	for _, token := range p[:len(p)-1] {
		next, ok := step(at, token)
		if !ok {
			return
		}
		at = next
	}
	if m, ok := at.(map[string]any); ok {
		delete(m, p[len(p)-1])
	}
}

// set gives a field a value. Where what Git says has no place for it, nothing is set: then it is not ours.
func (p pointer) set(object map[string]any, v any) {
	var at any = object
	for _, token := range p[:len(p)-1] {
		next, ok := step(at, token)
		if !ok {
			return
		}
		at = next
	}
	last := p[len(p)-1]
	switch at := at.(type) {
	case map[string]any:
		if _, ours := at[last]; ours {
			at[last] = v
		}
	case []any:
		if i, ok := index(last, at); ok {
			at[i] = v
		}
	}
}
