package substitute

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func variables(t testing.TB, strict bool, sets ...map[string]string) Variables {
	t.Helper()
	v, err := NewVariables(strict, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestText(t *testing.T) {
	vars := map[string]string{"name": "Web", "empty": "", "multi": "a\nb\n", "path": "a/b/c", "zone": "eu-1", "_x1": "y"}
	tests := []struct{ text, want string }{
		{"plain", "plain"},
		{"${name}", "Web"},
		{"a ${name} b ${_x1}", "a Web b y"},
		{"${missing}", ""},
		{"${missing:-default}", "default"},
		{"${missing:=default}", "default"},
		{"${missing-default}", ""},
		{"${empty:=default}", "default"},
		{"${name:=default}", "Web"},
		{"${missing:=${name}}", "Web"},
		{"${missing:=a${name}b}", "aWebb"},
		{"${multi}", "ab"},
		{"${#name}", "3"},
		{"${name^^} ${name,,} ${name,}", "WEB web web"},
		{"${name:1} ${name:1:1}", "eb e"},
		{"${path##*/} ${path%%/*} ${path#*/} ${path%/*}", "c a b/c a/b"},
		{"${zone/-/_} ${path//\\//.}", "eu_1 a.b.c"},
		{"$${name} $name $(name) $$ $", "${name} $name $(name) $ $"},
		{"{{ $name }}", "{{ $name }}"},
	}
	v := variables(t, false, vars)
	for _, tt := range tests {
		if got, err := v.Text(tt.text); err != nil && tt.text != "${missing-default}" || err == nil && got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestStrict(t *testing.T) {
	v := variables(t, true, map[string]string{"set": "x", "empty": ""})
	for text, fine := range map[string]bool{
		"${set} ${empty}": true, "${missing:=d}": true, "${missing:-}": true, "none": true, "$${missing}": true,
		"${missing}": false, "${set:=${missing}}": false, "${missing^^}": false, "${missing/a/b}": false,
	} {
		_, err := v.Text(text)
		if (err == nil) != fine {
			t.Errorf("%s: got error %v", text, err)
		}
		if err != nil && !strings.Contains(err.Error(), `"missing"`) {
			t.Errorf("%s: %v does not name the variable", text, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, fine := range map[string]bool{"a": true, "_": true, "A1_b": true, "": false, "1a": false, "a-b": false, "a.b": false, "ä": false, "a\n": false} {
		_, err := NewVariables(false, map[string]string{name: "secret"})
		if (err == nil) != fine {
			t.Errorf("%q: got error %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v has the value", err)
		}
	}
	v := variables(t, false, map[string]string{"a": "1", "b": "1"}, map[string]string{"b": "2"})
	if got, _ := v.Text("${a}${b}"); got != "12" {
		t.Errorf("got %s", got)
	}
}

func TestObject(t *testing.T) {
	v := variables(t, false, map[string]string{"n": "5", "f": "1.5", "b": "true", "s": "text", "list": "[1, two]", "null": "null", "date": "2020-01-01", "yes": "yes", "block": "a: b"})
	tests := []struct{ in, want string }{
		{`"${n}"`, `5`}, {`"${f}"`, `1.5`}, {`"${b}"`, `true`}, {`"${s}"`, `"text"`}, {`"${list}"`, `[1,"two"]`}, {`"${null}"`, `null`},
		{`"${missing}"`, `null`}, {`"${n}x"`, `"5x"`}, {`"\"${n}\""`, `"\"5\""`}, {`"${yes}"`, `true`}, {`"a\n${n}\n"`, `"a\n5\n"`},
		{`9007199254740993`, `9007199254740993`}, {`"5"`, `"5"`}, {`"yes"`, `"yes"`}, {`""`, `""`}, {`1.0`, `1`}, {`"$"`, `"$"`},
	}
	for _, tt := range tests {
		got, err := v.Object([]byte(`{"x":` + tt.in + `}`))
		if want := `{"x":` + tt.want + `}`; err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", tt.in, got, err, want)
		}
	}
	if _, err := v.Object([]byte(`{"x": "${block}"}`)); err == nil || strings.Contains(err.Error(), "a: b") {
		t.Errorf("got %v, want an error without the value", err)
	}
}

// Expressions that cost much are refused before they are evaluated.
func TestCost(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	v := variables(t, false, map[string]string{"x": "aaaaaaaaaa", "long": long, "stars": strings.Repeat("*a", 1000)})
	nested := "y"
	for range 12 {
		nested = "${x//a/" + nested + "}"
	}
	tests := map[string]string{
		"a text for each letter":     "${long//a/${long}}",
		"nested replacements":        strings.ReplaceAll(nested, "${x//a/y}", "${x}"),
		"patterns on a long value":   "${long##*a*a*b}",
		"patterns from a value":      "${long%%${stars}}",
		"many expressions":           strings.Repeat("${x}", 100_000),
		"deep nesting":               strings.Repeat("${a:=", 50_000) + strings.Repeat("}", 50_000),
		"many long ones":             strings.Repeat("${long}", 1000),
		"many escapes":               strings.Repeat("$$", 1<<20),
		"many escapes of backslash":  "${x/a/" + strings.Repeat(`\\`, 1<<20) + "}",
		"an offset too large":        "${x:9223372036854775807:1}",
		"a default after a long one": "${missing:=${long//a/${long}}}",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if out, err := v.Text(text); err == nil && len(out) > maxBytes {
				t.Errorf("%d bytes", len(out))
			} else if err == nil && name != "an offset too large" {
				t.Errorf("it is accepted")
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	for name, text := range map[string]string{
		"a dashboard":       strings.Repeat("${x} $$__interval {{name}} ", 1000),
		"a script":          strings.Repeat(`echo "$${HOME}" \\ \/ ${x}`+"\n", 1000),
		"a long value":      "${long}",
		"a short pattern":   "${x##*a}",
		"some replacements": strings.Repeat("${x//a/b}", 1000),
	} {
		if _, err := v.Text(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The bound on the cost is one: no text expands to more.
func FuzzText(f *testing.F) {
	for _, text := range []string{
		"${a}", "${a:=${b}}", "${a//a/${b//b/c}}", "$${a}", "${#a}", "${a:1:2}", "${a##*}", "${a/\\//x}", "${a^^}", "${", "${a", "}", "${a:-b${c}d}", "${a%%${b}}", "\x00${a}",
	} {
		f.Add(text, "aaa", "b\xff")
	}
	f.Fuzz(func(t *testing.T, text, a, b string) {
		v := variables(t, false, map[string]string{"a": a, "b": b, "x": "y"})
		out, err := v.Text(text)
		if err != nil {
			return
		}
		if bound := v.bound(t, text); uint64(len(out)) > bound {
			t.Errorf("%d bytes, the bound is %d", len(out), bound)
		}
		if again, err := v.Text(text); err != nil || again != out {
			t.Errorf("again: %q, %v, first %q", again, err, out)
		}
		if !strings.Contains(text, "$") && !strings.Contains(text, "\x00") && out != text {
			t.Errorf("%q became %q", text, out)
		}
	})
}

// An object without variables stays as it is.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"a":"yes","b":1e30,"c":[],"d":{},"e":null,"f":"\n","g":" x","h":"0x1","i":"1_0","j":"~"}`, `{"a":9007199254740993}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]any
		if strings.Contains(text, "$") || json.Unmarshal([]byte(text), &want) != nil {
			t.Skip()
		}
		clean, err := json.Marshal(want)
		if err != nil || strings.ContainsAny(string(clean), "\u0085\u2028\u2029") || bytes.Contains(clean, []byte(`\u20`)) {
			t.Skip() // YAML takes these for line breaks
		}
		out, err := variables(t, false).Object(clean)
		if err != nil {
			t.Skip() // YAML cannot express it
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
