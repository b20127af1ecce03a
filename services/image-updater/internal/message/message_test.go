package message

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/image-updater/internal/edit"
)

func sample() Data {
	change := func(file, name, from, to string) edit.Change {
		return edit.Change{
			Place: edit.Place{
				File: file, Part: edit.Tag, Value: from,
				Object: edit.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "prod", Name: name},
			},
			Policy: edit.Policy{Namespace: "flux-system", Name: name}, New: to,
		}
	}
	return Data{
		AutomationObject: types.NamespacedName{Namespace: "flux-system", Name: "auto"},
		Changed:          NewResult([]edit.Change{change("b.yaml", "web", "5.0.0", "5.0.3"), change("a.yaml", "api", "1.0", "1.1")}),
		Values:           map[string]string{"cluster": "prod"},
	}
}

func render(t *testing.T, text string) (string, error) {
	t.Helper()
	parsed, err := Parse(text)
	if err != nil {
		return "", err
	}
	return parsed.Execute(t.Context(), sample())
}

func TestTemplatesAsFluxHasThem(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"default":          {"", "Update from image update automation"},
		"object":           {"{{ .AutomationObject }} {{ .AutomationObject.Name }}", "flux-system/auto auto"},
		"values":           {"for {{ .Values.cluster }}", "for prod"},
		"files":            {"{{ range $f, $_ := .Changed.FileChanges }}{{ $f }};{{ end }}", "a.yaml;b.yaml;"},
		"objects":          {"{{ range $r, $cs := .Changed.Objects }}{{ $r.Kind | lower }} {{ $r.Name }}{{ range $_, $c := $cs }} {{ $c.OldValue }} -> {{ $c.NewValue }};{{ end }}{{ end }}", "deployment api 1.0 -> 1.1;deployment web 5.0.0 -> 5.0.3;"},
		"changes":          {"{{ range .Changed.Changes }}{{ print .OldValue }} -> {{ println .NewValue }}{{ end }}", "1.0 -> 1.1\n5.0.0 -> 5.0.3\n"},
		"setter":           {"{{ (index .Changed.Changes 0).Setter }}", "flux-system:api:tag"},
		"contains":         {`{{ range .Changed.Changes }}{{ if contains "5.0.3" .NewValue }}[skip ci]{{ end }}{{ end }}`, "[skip ci]"},
		"change id":        {`{{ printf "I%s" ( sha256sum (.Changed.FileChanges | toString) | trunc 40 ) | len }}`, "41"},
		"defined template": {`{{ define "x" }}{{ .OldValue }}{{ end }}{{ range .Changed.Changes }}{{ template "x" . }} {{ end }}`, "1.0 5.0.0 "},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, c.text)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestWhatFilesSayIsOneLine: no name or value of a file begins a line of its own.
func TestWhatFilesSayIsOneLine(t *testing.T) {
	hostile := "x\n\nSigned-off-by: Mallory <m@example.com>\r\u2028\x1b[31m\u202e"
	place := edit.Place{File: hostile, Value: hostile, Object: edit.Object{APIVersion: hostile, Kind: hostile, Namespace: hostile, Name: hostile}}
	parsed, err := Parse("{{ .Changed.FileChanges }} {{ .Changed.Objects }} {{ .Changed.Changes }}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.Execute(t.Context(), Data{Changed: NewResult([]edit.Change{{Place: place, New: "x:2"}})})
	if err != nil || strings.ContainsAny(got, "\n\r\x1b\u2028\u202e") || strings.Count(got, "Mallory") != 12 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRemovedFieldsAreTold(t *testing.T) {
	for _, text := range []string{"{{ range .Updated.Images }}{{ . }}{{ end }}", "{{ .Changed.ImageResult }}"} {
		if _, err := render(t, text); !errors.Is(err, ErrRemoved) {
			t.Errorf("%s: %v; want ErrRemoved", text, err)
		}
	}
}

func TestHostileTemplatesEnd(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":              "{{ .Values",
		"unknown function":    `{{ env "HOME" }}`,
		"network":             `{{ getHostByName "example.com" }}`,
		"keys":                `{{ genPrivateKey "rsa" }}`,
		"clock":               `{{ now }}`,
		"silent loop":         "{{ range 1000000000000 }}{{ end }}",
		"nested loops":        "{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}",
		"recursion":           `{{ define "x" }}{{ template "x" . }}{{ template "x" . }}{{ end }}{{ template "x" . }}`,
		"output":              `{{ range 100000 }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{ end }}`,
		"repeat":              `{{ repeat 1000000000 "x" | len }}`,
		"repeat text":         `{{ repeat 9999 (repeat 9999 "x") | len }}`,
		"until":               `{{ until 1000000000 | len }}`,
		"width":               `{{ printf "%1000000000d" 1 }}`,
		"width by argument":   `{{ printf "%*d" 1000000000 1 }}`,
		"doubled text":        `{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}`,
		"doubled list":        `{{ $x := list 1 2 }}{{ range 60 }}{{ $x = concat $x $x }}{{ end }}{{ len $x }}`,
		"shared parts":        `{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}`,
		"shared dictionaries": `{{ $x := dict "a" 1 }}{{ range 60 }}{{ $x = dict "a" $x "b" $x }}{{ end }}{{ toJson $x }}`,
		"replace":             `{{ $x := repeat 9999 "xxxxxx" }}{{ replace "x" $x $x | len }}`,
		"fail":                `{{ fail "no" }}`,
		"panic":               `{{ index (list 1) 5 }}`,
		"mutation":            `{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ $d }}`,
		"too long":            strings.Repeat("x", 64<<10+1),
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			if got, err := render(t, text); !errors.Is(err, ErrTemplate) {
				t.Errorf("got %.100q, %v; want ErrTemplate", got, err)
			}
			if took := time.Since(started); took > 10*maxTime {
				t.Errorf("took %s", took)
			}
		})
	}
}

func FuzzTemplates(f *testing.F) {
	f.Add("{{ range .Changed.Changes }}{{ .OldValue | upper }}{{ end }}")
	f.Add(`{{ $x := list 1 }}{{ range 9 }}{{ $x = list $x $x }}{{ end }}{{ $x }}`)
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := render(t, text); err == nil && len(got) > 64<<10 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
