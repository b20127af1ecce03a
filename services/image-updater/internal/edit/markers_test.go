package edit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

const (
	oldDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	newDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// chosen are the policies of the tests.
func chosen(m Marker) (imageref.Ref, error) {
	switch m.Policy.String() {
	case "ns:app":
		return imageref.Ref{Name: "ghcr.io/org/app", Tag: "v2.0.0"}, nil
	case "ns:pinned":
		return imageref.Ref{Name: "ghcr.io/org/app", Tag: "v2.0.0", Digest: newDigest}, nil
	case "ns:number":
		return imageref.Ref{Name: "app", Tag: "1.10"}, nil
	case "ns:version":
		return imageref.Ref{Name: "app", Tag: "1.0.0"}, nil
	case "ns:date":
		return imageref.Ref{Name: "app", Tag: "2026-01-02"}, nil
	case "ns:waiting":
		return imageref.Ref{}, ErrLeave
	}
	return imageref.Ref{}, ErrUnknownPolicy
}

type updateTest struct {
	name string
	in   string
	// want is the text after; where it is empty the text stays.
	want     string
	problems []string // "line reason"
}

var updateTests = []updateTest{
	{name: "image", in: "a: x:1 # {\"$imagepolicy\": \"ns:app\"}\n", want: "a: ghcr.io/org/app:v2.0.0 # {\"$imagepolicy\": \"ns:app\"}\n"},
	{name: "tag", in: "a: v1 # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "name", in: "a: x # {\"$imagepolicy\":\"ns:app:name\"}", want: "a: ghcr.io/org/app # {\"$imagepolicy\":\"ns:app:name\"}"},
	{name: "digest", in: "a: " + oldDigest + " # {\"$imagepolicy\": \"ns:pinned:digest\"}\n", want: "a: " + newDigest + " # {\"$imagepolicy\": \"ns:pinned:digest\"}\n"},
	{name: "image with digest", in: "a: x:1 # {\"$imagepolicy\": \"ns:pinned\"}\n", want: "a: ghcr.io/org/app:v2.0.0@" + newDigest + " # {\"$imagepolicy\": \"ns:pinned\"}\n"},
	{name: "digest that the policy has not", in: "a: x # {\"$imagepolicy\": \"ns:app:digest\"}\n", problems: []string{"1 InvalidValue"}},
	{name: "double quotes", in: "a:   \"x:1\"  # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a:   \"v2.0.0\"  # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "single quotes", in: "a: 'it''s' # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: 'v2.0.0' # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "empty quotes", in: "a: \"\" # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: \"v2.0.0\" # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "a number would lose its zero", in: "a: 1.9 # {\"$imagepolicy\": \"ns:number:tag\"}\n", want: "a: \"1.10\" # {\"$imagepolicy\": \"ns:number:tag\"}\n"},
	{name: "a version is a string", in: "a: 0.9.0 # {\"$imagepolicy\": \"ns:version:tag\"}\n", want: "a: 1.0.0 # {\"$imagepolicy\": \"ns:version:tag\"}\n"},
	{name: "a date is none", in: "a: x # {\"$imagepolicy\": \"ns:date:tag\"}\n", want: "a: \"2026-01-02\" # {\"$imagepolicy\": \"ns:date:tag\"}\n"},
	{name: "CRLF", in: "a:\r\n- x:1 # {\"$imagepolicy\": \"ns:app:tag\"}\r\n- y\r\n", want: "a:\r\n- v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\r\n- y\r\n"},
	{name: "byte order mark", in: "\xef\xbb\xbfa: x # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "\xef\xbb\xbfa: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "wide characters before", in: "\"é世界𝄞\": ü # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "\"é世界𝄞\": v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "anchor keeps its alias", in: "a: &i x # {\"$imagepolicy\": \"ns:app:tag\"}\nb: *i\n", want: "a: &i v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\nb: *i\n"},
	{name: "tag of YAML", in: "a: !!str 1.9 # {\"$imagepolicy\": \"ns:number:tag\"}\n", want: "a: !!str 1.10 # {\"$imagepolicy\": \"ns:number:tag\"}\n"},
	{name: "tag of another type", in: "a: !!float 1.9 # {\"$imagepolicy\": \"ns:number:tag\"}\n", problems: []string{"1 InvalidValue"}},
	{name: "alias", in: "a: &i x\nb: *i # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 MisplacedMarker"}},
	{name: "later document", in: "---\na: b\n---\n# c\na: x # {\"$imagepolicy\": \"ns:app:tag\"}\n...\n", want: "---\na: b\n---\n# c\na: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n...\n"},
	{name: "list at the top", in: "- tag: 0.0.1 # {\"$imagepolicy\":\"ns:app:tag\"}\n  name: b\n", want: "- tag: v2.0.0 # {\"$imagepolicy\":\"ns:app:tag\"}\n  name: b\n"},
	{name: "comment above an item", in: "a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- x\n- y\n", want: "a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- v2.0.0\n- y\n"},
	{name: "comment above among others", in: "a:\n- y\n# one\n# {\"$imagepolicy\": \"ns:app:tag\"}\n# two\n- x\n", want: "a:\n- y\n# one\n# {\"$imagepolicy\": \"ns:app:tag\"}\n# two\n- v2.0.0\n"},
	{name: "comment behind the dash", in: "- # {\"$imagepolicy\": \"ns:app:tag\"}\n  x\n- y\n", want: "- # {\"$imagepolicy\": \"ns:app:tag\"}\n  v2.0.0\n- y\n"},
	{name: "comment behind the key", in: "a: # {\"$imagepolicy\": \"ns:app:tag\"}\n  x\nb: y\n", want: "a: # {\"$imagepolicy\": \"ns:app:tag\"}\n  v2.0.0\nb: y\n"},
	{name: "comment above the value", in: "a:\n  # {\"$imagepolicy\": \"ns:app:tag\"}\n  x\nb: y\n", want: "a:\n  # {\"$imagepolicy\": \"ns:app:tag\"}\n  v2.0.0\nb: y\n"},
	{name: "comment above a key", in: "# {\"$imagepolicy\": \"ns:app:tag\"}\na: x\n", problems: []string{"1 MisplacedMarker"}},
	{name: "comment behind a list", in: "a: # {\"$imagepolicy\": \"ns:app:tag\"}\n- x\n", problems: []string{"1 MisplacedMarker"}},
	{name: "comment behind nothing", in: "a: # {\"$imagepolicy\": \"ns:app:tag\"}\nb: y\n", problems: []string{"1 MisplacedMarker"}},
	{name: "comment at the end", in: "a: x\n# {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 MisplacedMarker"}},
	{name: "comment and blank line", in: "a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n\n- x\n", problems: []string{"2 MisplacedMarker"}},
	{name: "flow list by lines", in: "a: [\n  x:1, # {\"$imagepolicy\": \"ns:app\"}\n  'y:1' # {\"$imagepolicy\": \"ns:app:tag\"}\n]\n", want: "a: [\n  ghcr.io/org/app:v2.0.0, # {\"$imagepolicy\": \"ns:app\"}\n  'v2.0.0' # {\"$imagepolicy\": \"ns:app:tag\"}\n]\n"},
	{name: "flow list, comments above", in: "a: [\n  # {\"$imagepolicy\": \"ns:app\"}\n  x:1,\n  # {\"$imagepolicy\": \"ns:app:tag\"}\n  y ]\n", want: "a: [\n  # {\"$imagepolicy\": \"ns:app\"}\n  ghcr.io/org/app:v2.0.0,\n  # {\"$imagepolicy\": \"ns:app:tag\"}\n  v2.0.0 ]\n"},
	{name: "flow list of one", in: "a: [x:1] # {\"$imagepolicy\": \"ns:app\"}\n", want: "a: [ghcr.io/org/app:v2.0.0] # {\"$imagepolicy\": \"ns:app\"}\n"},
	{name: "flow list of two", in: "a: [x:1, y] # {\"$imagepolicy\": \"ns:app\"}\n", problems: []string{"1 MisplacedMarker"}},
	{name: "flow map by lines", in: "a: {b: x, # {\"$imagepolicy\": \"ns:app:tag\"}\n  c: y}\n", want: "a: {b: v2.0.0, # {\"$imagepolicy\": \"ns:app:tag\"}\n  c: y}\n"},
	{name: "flow map of one", in: "a: {\"b\":\"x\"} # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: {\"b\":\"v2.0.0\"} # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "block string that is the value", in: "a: >- # {\"$imagepolicy\": \"ns:app:tag\"}\n\n  x\n\nb: y\n", want: "a: >- # {\"$imagepolicy\": \"ns:app:tag\"}\n\n  v2.0.0\n\nb: y\n"},
	{name: "block string of two lines", in: "a: | # {\"$imagepolicy\": \"ns:app:tag\"}\n  x\n  y\n", problems: []string{"1 InvalidValue"}},
	{name: "marker in a block string", in: "v: |\n  # c\n  image:\n    tag: x # {\"$imagepolicy\": \"ns:app:tag\"}\n\n  z: 1\nb: y\n", want: "v: |\n  # c\n  image:\n    tag: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n\n  z: 1\nb: y\n"},
	{name: "block string in a block string, CRLF", in: "v: |2-\r\n   a: |\r\n    - x # {\"$imagepolicy\": \"ns:app:tag\"}\r\n   b: c\r\n", want: "v: |2-\r\n   a: |\r\n    - v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\r\n   b: c\r\n"},
	{name: "block string that is no YAML", in: "v: |\n  A=x # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 MisplacedMarker"}},
	{name: "folded string", in: "v: >\n  a: x # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 MisplacedMarker"}},
	{name: "quoted string", in: "v: 'a: x # {\"$imagepolicy\": \"ns:app:tag\"}'\n", problems: []string{"1 MisplacedMarker"}},
	{name: "hash in a quoted value", in: "a: \"x # y\" # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: \"v2.0.0\" # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "hash in a key", in: "\"a # b\": x # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "\"a # b\": v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "data, not a comment", in: "a: {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"1 MisplacedMarker"}},
	{name: "unknown policy", in: "b: y\na: x # {\"$imagepolicy\": \"ns:nobody\"}\nc: x # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "b: y\na: x # {\"$imagepolicy\": \"ns:nobody\"}\nc: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 UnknownPolicy"}},
	{name: "policy that has chosen nothing", in: "a: x # {\"$imagepolicy\": \"ns:waiting\"}\n"},
	{name: "single quotes in the marker", in: "a: x # {'$imagepolicy': 'ns:app'}\n", problems: []string{"1 MalformedMarker"}},
	{name: "words behind the marker", in: "a: x # {\"$imagepolicy\": \"ns:app\"} please\n", problems: []string{"1 MalformedMarker"}},
	{name: "words before the marker", in: "a: x # keep {\"$imagepolicy\": \"ns:app\"}\n", problems: []string{"1 MalformedMarker"}},
	{name: "no namespace", in: "a: x # {\"$imagepolicy\": \"app\"}\n", problems: []string{"1 MalformedMarker"}},
	{name: "no such part", in: "a: x # {\"$imagepolicy\": \"ns:app:version\"}\n", problems: []string{"1 MalformedMarker"}},
	{name: "two markers", in: "a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- x # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"3 MisplacedMarker"}},
	{name: "commented out", in: "b: y\n# a: x # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "prose", in: "# markers of $imagepolicy are explained elsewhere\na: see $imagepolicy\n"},
	{name: "template", in: "a: {{ .Values.x }} # {\"$imagepolicy\": \"ns:app:tag\"}\nb: }\n", problems: []string{"1 NotYAML"}},
	{name: "missing space", in: "a: x# {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"1 NotYAML"}},
	{name: "tab before the comment", in: "a: x\t# {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "a: v2.0.0\t# {\"$imagepolicy\": \"ns:app:tag\"}\n"},
	{name: "value over two lines", in: "a: x\n  y # {\"$imagepolicy\": \"ns:app:tag\"}\n", problems: []string{"2 MisplacedMarker"}},
	{name: "explicit key", in: "? a\n: x # {\"$imagepolicy\": \"ns:app:tag\"}\n", want: "? a\n: v2.0.0 # {\"$imagepolicy\": \"ns:app:tag\"}\n"},
}

func TestUpdate(t *testing.T) {
	for _, tt := range updateTests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Update("f.yaml", []byte(tt.in), chosen)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.in
			}
			if diff := cmp.Diff(want, string(got.Data)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, brief(got.Problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%v", diff, got.Problems)
			}
		})
	}
}

func brief(problems []*Problem) []string {
	var all []string
	for _, p := range problems {
		line, _, _ := strings.Cut(strings.TrimPrefix(p.Error(), p.File+":"), ":")
		all = append(all, line+" "+string(p.Reason))
	}
	return all
}

func TestChangesSayWhere(t *testing.T) {
	const in = `apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, namespace: shop}
  spec:
    template:
      spec:
        containers:
        - name: web
          image: x:1 # {"$imagepolicy": "ns:app"}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: values, namespace: shop}
  data:
    values.yaml: |
      tag: x # {"$imagepolicy": "ns:app:tag"}
`
	got, err := Update("apps/web.yaml", []byte(in), chosen)
	if err != nil || len(got.Problems) > 0 {
		t.Fatal(err, got.Problems)
	}
	type where struct {
		File, Object, Path, Policy, Old, New string
		Line                                 int
	}
	var all []where
	for _, c := range got.Changes {
		all = append(all, where{c.File, c.Object.String(), c.Path, c.Policy.String(), c.Value, c.New, c.Line})
	}
	want := []where{
		{"apps/web.yaml", "Deployment/shop/web", "items[0].spec.template.spec.containers[0].image", "ns:app", "x:1", "ghcr.io/org/app:v2.0.0", 12},
		{"apps/web.yaml", "ConfigMap/shop/values", "items[1].data.values.yaml|tag", "ns:app:tag"[:6], "x", "v2.0.0", 18},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// What a registry can name a tag must not be able to say anything in YAML.
func TestHostileValuesAreRefused(t *testing.T) {
	hostile := []string{"v1\"", "v1'", "v1\nkind: Secret", "v1 #", "v1: x", "{{ .x }}", "v1\r", "", " v1", "v1\u2028x", "-v1", "*x", "&x", "!x", "v1@x", strings.Repeat("a", 129), "v1\x00", "v1\\n", "v1,b"}
	const in = "a: \"x\" # {\"$imagepolicy\": \"ns:p:tag\"}\nb: x # {\"$imagepolicy\": \"ns:p\"}\nc: [x] # {\"$imagepolicy\": \"ns:p:name\"}\n"
	for _, v := range hostile {
		got, err := Update("f.yaml", []byte(in), func(Marker) (imageref.Ref, error) {
			return imageref.Ref{Name: "Bad " + v, Tag: v, Digest: v}, nil
		})
		if err != nil || string(got.Data) != in || len(got.Changes) != 0 {
			t.Errorf("value %q: %q %v", v, got.Data, err)
		}
		if len(got.Problems) != 3 {
			t.Errorf("value %q: problems %v", v, got.Problems)
		}
		f, err := Parse("f.yaml", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		markers, _ := f.Markers()
		if _, err := f.Apply([]Replacement{{Place: markers[0].Place, Value: v}}); err == nil {
			t.Errorf("value %q was written", v)
		}
	}
}

func TestFileTooLarge(t *testing.T) {
	data := []byte(strings.Repeat("# x\n", MaxFileSize/4) + "a: x # {\"$imagepolicy\": \"ns:app:tag\"}\n")
	got, err := Update("f.yaml", data, chosen)
	if err != nil || len(got.Problems) != 1 || got.Problems[0].Reason != TooLarge {
		t.Error(got.Problems, err)
	}
}

// TestManyMarkersEnd: what a file costs grows with its size, wherever its markers are.
func TestManyMarkersEnd(t *testing.T) {
	const n, marker = 4000, `# {"$imagepolicy": "ns:app:tag"}`
	for name, text := range map[string]func(n int) string{
		"in one comment":      func(n int) string { return "a: 1 " + strings.Repeat(marker+" ", n) },
		"in prose":            func(n int) string { return strings.Repeat("# $imagepolicy ", n) },
		"in lines of comment": func(n int) string { return "a:\n" + strings.Repeat("  "+marker+"\n", n) + "  - 1\n" },
		"above empty values":  func(n int) string { return "a:\n" + strings.Repeat("- \n", n) + strings.Repeat(marker+"\n", n) },
		"behind empty values": func(n int) string { return "a:\n" + strings.Repeat("-  "+marker+"\n", n) },
		"behind values":       func(n int) string { return "a:\n" + strings.Repeat("- 1 "+marker+"\n", n) },
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(text string) time.Duration {
				started := time.Now()
				f, err := Parse("x.yaml", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				f.Markers()
				return time.Since(started)
			}
			// The machine may be busy with something else, so it is tried more than once, and little time says nothing.
			for range 3 {
				few, many := cost(text(n)), cost(text(8*n))
				if many < time.Second || many < 30*few {
					return
				}
			}
			t.Error("eight times the size takes more than thirty times as long")
		})
	}
}
