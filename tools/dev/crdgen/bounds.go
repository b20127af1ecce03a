package main

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	// durationUnits is how the patterns of durations end in Flux's types.
	durationUnits = "|s|m"
	durationRule  = "duration(self) <= duration('87600h')"
	durationBytes = 64
)

// bound adds to durations what Flux's patterns let through: numbers that no
// duration holds. One object with such a number cannot be decoded, and with it
// no list of its kind, so that it would stop everybody's objects.
func bound(schema *apiextensionsv1.JSONSchemaProps) {
	if schema.Type == "string" && strings.Contains(schema.Pattern, durationUnits) {
		length := int64(durationBytes)
		schema.MaxLength = &length
		schema.XValidations = append(schema.XValidations, apiextensionsv1.ValidationRule{
			Rule: durationRule, Message: "must be a duration of at most ten years",
		})
	}
	for name, property := range schema.Properties {
		bound(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		bound(schema.Items.Schema)
	}
}
