package plain

import "testing"

func TestText(t *testing.T) {
	for in, want := range map[string][2]string{
		"a\nb\tc\r\n":           {"a b c  ", "a\nb\tc\n"},
		"\x00\x1b[31mred\u202e": {"[31mred", "[31mred"},
		"é\u2028日\xff":          {"é 日", "é 日"},
	} {
		if got := [2]string{Text(in, false), Text(in, true)}; got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{"": "", " ab\n": "ab", "abcde": "abcde", "abcdef": "abcd…", "日本語日本語": "日本語日…"} {
		if got := Line(in, 5); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
