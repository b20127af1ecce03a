package edit

import (
	"regexp"
	"strings"

	yaml11 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
)

// sexagesimal are the numbers of base 60 that YAML 1.1 has, such as 1:20.
var sexagesimal = regexp.MustCompile(`\A[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\z`)

// number is what some reader or other takes for one. A version with two dots is not.
var number = regexp.MustCompile(`\A[-+]?[0-9_]*\.?[0-9_]*([eE][-+]?[0-9_]*)?\z`)

// plainIsString says whether a value without quotes is a string to every reader:
// 1.10 would be a number and "on" a truth value, to YAML 1.1, which Kubernetes
// reads, or to 1.2.
func plainIsString(value string) bool {
	if sexagesimal.MatchString(value) || number.MatchString(value) {
		return false
	}
	var old any
	if err := yaml11.Unmarshal([]byte(value), &old); err != nil {
		return false
	}
	if s, ok := old.(string); !ok || s != value {
		return false
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return false
	}
	n := root(&doc)
	return n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == value
}

// plainIsSafe says whether a value can stand without quotes, in lists and maps
// in brackets too.
func plainIsSafe(value string) bool {
	return value != "" && !strings.ContainsAny(value, "[]{},") && value[0] != '-' && value[0] != '.'
}
