package demo

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func image(object ref, name string) want {
	return field(object, "image "+name, name, "spec", "template", "spec", "containers", "0", "image")
}

func memory(object ref, limit string) want {
	return field(object, "memory limit "+limit, limit, "spec", "template", "spec", "containers", "0", "resources", "limits", "memory")
}

func replicas(object ref, count int) want {
	return field(object, fmt.Sprintf("%d replicas", count), strconv.Itoa(count), "spec", "replicas")
}

func data(object ref, key, value string) want {
	return field(object, fmt.Sprintf("%s %q", key, value), value, "data", key)
}

// field wants a value at a path, where numbers are positions in lists.
func field(object ref, what, value string, path ...string) want {
	return want{object, what, func(o *unstructured.Unstructured) bool { return o != nil && at(o.Object, path...) == value }}
}

func there(object ref) want {
	return want{object, "", func(o *unstructured.Unstructured) bool { return o != nil }}
}

func gone(object ref) want {
	return want{object, "", func(o *unstructured.Unstructured) bool { return o == nil }}
}

// notReady wants an application that says what is wrong with which file.
func notReady(app ref, file string) want {
	return want{app, "", func(o *unstructured.Unstructured) bool {
		ready := readyOf(o)
		return ready.status == "False" && strings.Contains(ready.message, file)
	}}
}

// at returns the value at a path as text, empty when there is none.
func at(value any, path ...string) string {
	for _, name := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			value = v[i]
		default:
			return ""
		}
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// ready is the condition Ready of a custom resource.
type ready struct{ status, reason, message string }

func readyOf(o *unstructured.Unstructured) ready {
	if o == nil {
		return ready{}
	}
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return ready{}
	}
	for _, c := range conditions {
		if at(c, "type") == "Ready" {
			return ready{at(c, "status"), at(c, "reason"), at(c, "message")}
		}
	}
	return ready{}
}
