package render

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// fieldsOf is a resource as the cluster's API reads it: what its JSON would give,
// without writing and parsing YAML and JSON in between, which is ten times
// slower. A fuzz test holds the two against each other.
func fieldsOf(r *resource.Resource) (map[string]any, error) {
	var fields map[string]any
	textInFlow(r.YNode(), false)
	if err := r.YNode().Decode(&fields); err != nil {
		return nil, failed("the object has a key twice, or a value that does not fit its tag")
	}
	v, err := jsonValue(fields)
	if err != nil {
		return nil, failed("the object is no valid JSON: %v", err)
	}
	return v.(map[string]any), nil
}

// textInFlow makes empty text of the values left out within braces and brackets,
// as in {a: , b: c}. That is what they become when kustomize writes YAML, while
// elsewhere they are null.
func textInFlow(n *yaml.Node, flow bool) {
	flow = flow || n.Style&yaml.FlowStyle != 0
	if flow && n.Kind == yaml.ScalarNode && n.Value == "" && n.Style&^yaml.FlowStyle == 0 {
		n.Tag = yaml.NodeTagString
	}
	for _, child := range n.Content {
		textInFlow(child, flow)
	}
}

// jsonValue turns a decoded YAML value into what decoding its JSON would give.
func jsonValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		if v > math.MaxInt64 {
			return float64(v), nil
		}
		return int64(v), nil
	case float64:
		return jsonNumber(v)
	case string:
		return validText(v), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case []any:
		return jsonList(v)
	case map[string]any:
		return jsonMap(v)
	}
	return nil, fmt.Errorf("every key must be a string")
}

func jsonList(list []any) (any, error) {
	for i, item := range list {
		v, err := jsonValue(item)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

func jsonMap(m map[string]any) (any, error) {
	for key, item := range m {
		v, err := jsonValue(item)
		if err != nil {
			return nil, err
		}
		if valid := validText(key); valid != key {
			delete(m, key)
			key = valid
		}
		m[key] = v
	}
	return m, nil
}

// jsonNumber is f, or the integer that JSON writes it as.
func jsonNumber(f float64) (any, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("it holds a number that JSON cannot express")
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 && !strings.Contains(string(text), "e") {
		return int64(f), nil
	}
	return f, nil
}

// validText replaces each byte that is no text, as JSON does.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}
