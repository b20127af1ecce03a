package main

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestBoundFindsDurationsAtAnyDepth(t *testing.T) {
	duration := apiextensionsv1.JSONSchemaProps{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
	schema := &apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{
		"interval": duration,
		"url":      {Type: "string", Pattern: "^http://"},
		"list": {Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{
			Properties: map[string]apiextensionsv1.JSONSchemaProps{"timeout": duration},
		}}},
	}}
	bound(schema)
	for name, p := range map[string]apiextensionsv1.JSONSchemaProps{
		"interval": schema.Properties["interval"], "timeout": schema.Properties["list"].Items.Schema.Properties["timeout"],
	} {
		if len(p.XValidations) != 1 || p.MaxLength == nil {
			t.Errorf("%s is not bounded", name)
		}
	}
	if p := schema.Properties["url"]; len(p.XValidations) != 0 || p.MaxLength != nil {
		t.Error("an address is bounded as if it were a duration")
	}
}
