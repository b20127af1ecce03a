package bus

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestSubjectsRoundTrip(t *testing.T) {
	for _, key := range []types.NamespacedName{
		{Namespace: "flux-system", Name: "apps"},
		{Namespace: "a", Name: "web.example.com"},
		{Namespace: "", Name: "system:node"},
		{Namespace: "x", Name: "odd = * > \tname"},
	} {
		subject := WorkSubject("render", key)
		if strings.ContainsAny(subject, "*> \t") || strings.Count(subject, ".") != 3 {
			t.Errorf("subject %q of %v is no plain four-token subject", subject, key)
		}
		got, err := ParseObjectSubject(subject)
		if err != nil || got != key {
			t.Errorf("ParseObjectSubject(%q) = %v, %v; want %v", subject, got, err, key)
		}
	}
}

func TestSubjectsDoNotCollide(t *testing.T) {
	a := WorkSubject("render", types.NamespacedName{Namespace: "a", Name: "b.c"})
	b := WorkSubject("render", types.NamespacedName{Namespace: "a", Name: "b=2Ec"})
	if a == b {
		t.Fatalf("two names share subject %q", a)
	}
}

func FuzzParseObjectSubject(f *testing.F) {
	f.Add("work.render.a.b=2Ec")
	f.Add("work.render.=.=")
	f.Fuzz(func(t *testing.T, subject string) {
		key, err := ParseObjectSubject(subject)
		if err != nil {
			return
		}
		again, err := ParseObjectSubject(WorkSubject("render", key))
		if err != nil || again != key {
			t.Fatalf("%q gives %v, which gives %v, %v", subject, key, again, err)
		}
	})
}
