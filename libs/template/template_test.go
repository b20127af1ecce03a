package template

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTemplatesEnd: what templates may, they can; what would take long, much, or another's secrets, they cannot.
func TestTemplatesEnd(t *testing.T) {
	data := map[string]any{"Name": "web", "List": []string{"b", "a"}}
	for text, want := range map[string]string{
		`{{ .Name | upper }}: {{ join "," (sortAlpha .List) }}`: "WEB: a,b",
		`{{ range $i, $x := .List }}{{ $i }}{{ $x }}{{ end }}`:  "0b1a",
		`{{ $sorted := sortAlpha .List }}{{ join "," .List }}`:  "b,a",
		`{{ env "HOME" }}`:                      "",
		`{{ range 1000000000000 }}{{ end }}`:    "",
		`{{ range 100000 }}aaaaaaaaaa{{ end }}`: "",
		`{{ printf "%1000000000d" 1 }}`:         "",
		`{{ repeat 1000000000 "x" }}`:           "",
		`{{ .Name`:                              "",
		strings.Repeat("x", maxTemplate+1):      "",
		`{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`: "",
	} {
		began := time.Now()
		parsed, err := Parse(text)
		got := ""
		if err == nil {
			got, err = parsed.Execute(t.Context(), data, 100*time.Millisecond)
		}
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60s: %.100q, %v; want %q", text, got, err, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.60s took %s", text, took)
		}
	}
}
