package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func tags(names ...string) []Tag {
	var list []Tag
	for _, n := range names {
		list = append(list, Tag{Name: n})
	}
	return list
}

func reasons(r Result) map[string]Reason {
	m := map[string]Reason{}
	for _, x := range r.Rejected {
		m[x.Tag] = x.Reason
	}
	return m
}

func TestEvaluateOrders(t *testing.T) {
	tests := []struct {
		name string
		spec Spec
		tags []string
		want string
	}{
		{"semver range", Spec{Order: SemVer, Range: "5.0.x"}, []string{"5.0.1", "v5.0.10", "5.0.9", "5.1.0", "6.0.0-rc.1"}, "v5.0.10"},
		{"semver without prereleases", Spec{Order: SemVer, Range: ">=1.0.0"}, []string{"1.0.0", "1.1.0-rc.1"}, "1.0.0"},
		{"semver with prereleases", Spec{Order: SemVer, Range: ">=1.0.0-0"}, []string{"1.0.0", "1.1.0-rc.2", "1.1.0-rc.10"}, "1.1.0-rc.10"},
		{"semver wants three parts", Spec{Order: SemVer, Range: "*"}, []string{"1.10", "2", "1.9.0"}, "1.9.0"},
		{"semver of Flux v1 does not", Spec{Order: SemVer, Range: "*", Loose: true}, []string{"1.10", "1.9.0"}, "1.10"},
		{"semver, the more explicit", Spec{Order: SemVer, Range: "*", Loose: true}, []string{"1.10.0", "1.10"}, "1.10.0"},
		{"semver extracted", Spec{Order: SemVer, Range: ">=1.0.0", Pattern: `^app-v(?P<v>.*)$`, Extract: "$v"}, []string{"app-v1.2.0", "app-v1.10.0", "2.0.0"}, "app-v1.10.0"},
		{"numerical", Spec{Order: Numerical}, []string{"9", "10", "x", "1e3", "NaN", "Inf"}, "1e3"},
		{"numerical, lowest", Spec{Order: Numerical, Descending: true}, []string{"9", "10", "-1"}, "-1"},
		{"numerical beyond floats", Spec{Order: Numerical, Pattern: `^b-(\d+)$`, Extract: "$1"}, []string{"b-20260101123456789012", "b-20260101123456789013", "b-020260101123456789011"}, "b-20260101123456789013"},
		{"numerical extracted", Spec{Order: Numerical, Pattern: `^main-[a-f0-9]+-(?P<ts>[0-9]+)`, Extract: "$ts"}, []string{"main-ab-9", "main-cd-10", "dev-ab-11"}, "main-cd-10"},
		{"alphabetical", Spec{Order: Alphabetical}, []string{"a", "c", "B"}, "c"},
		{"alphabetical, lowest", Spec{Order: Alphabetical, Descending: true}, []string{"b", "a", "c"}, "a"},
		{"nothing fits", Spec{Order: SemVer, Range: "9.x"}, []string{"1.0.0"}, ""},
		{"no tags", Spec{Order: Alphabetical}, nil, ""},
		{"glob", Spec{Order: Alphabetical, Match: "glob:main-*-x"}, []string{"main-1-x", "main-2-y", "main-2-x"}, "main-2-x"},
		{"regex", Spec{Order: Alphabetical, Match: "regex:^v[0-9]$"}, []string{"v1", "v10", "w2"}, "v1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Evaluate(tags(tt.tags...), now)
			if got.Chosen.Name != tt.want {
				t.Errorf("chose %q, not %q: %v", got.Chosen.Name, tt.want, got.Rejected)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	p, err := New(Spec{Order: SemVer, Range: "1.x", Pattern: "^[v0-9]", SkipLatest: true})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Evaluate(tags("1.0.0", "1.2.0", "2.0.0", "vx", "x", "latest"), now)
	want := map[string]Reason{"1.0.0": Lower, "2.0.0": OutOfRange, "vx": NotAVersion, "x": Filtered, "latest": Latest}
	if diff := cmp.Diff(want, reasons(got)); diff != "" || got.Chosen.Name != "1.2.0" {
		t.Error(got.Chosen, diff)
	}
}

func TestRejectionsAreBoundedAndCounted(t *testing.T) {
	p, _ := New(Spec{Order: Numerical, MinAge: time.Hour})
	var all []Tag
	for i := range 10_000 {
		all = append(all, Tag{Name: fmt.Sprint(i), FirstSeen: now.Add(-2 * time.Hour)})
	}
	for i := 9990; i < 10_000; i++ {
		all[i].FirstSeen = now.Add(-time.Minute)
	}
	got := p.Evaluate(all, now)
	if got.Chosen.Name != "9989" || len(got.Rejected) != MaxRejections || got.Counts[Lower] != 9989 || got.Counts[TooYoung] != 10 {
		t.Error(got.Chosen, len(got.Rejected), got.Counts)
	}
	if got.Rejected[0].Tag != "9999" || got.Rejected[10].Tag != "9988" {
		t.Error(got.Rejected[:11])
	}
}

func TestMinAge(t *testing.T) {
	p, _ := New(Spec{Order: SemVer, MinAge: time.Hour})
	list := []Tag{
		{Name: "1.0.0", FirstSeen: now.Add(-time.Hour)},
		{Name: "1.1.0", FirstSeen: now.Add(-59 * time.Minute)},
		{Name: "1.2.0", FirstSeen: now.Add(-10 * time.Minute)},
		{Name: "1.3.0"},
	}
	got := p.Evaluate(list, now)
	want := []Rejection{{"1.3.0", AgeUnknown, time.Time{}}, {"1.2.0", TooYoung, now.Add(50 * time.Minute)}, {"1.1.0", TooYoung, now.Add(time.Minute)}}
	if diff := cmp.Diff(want, got.Rejected); diff != "" || got.Chosen.Name != "1.0.0" || !got.NextAt.Equal(now.Add(time.Minute)) {
		t.Error(got, diff)
	}
	if got := p.Evaluate(list, got.NextAt); got.Chosen.Name != "1.1.0" {
		t.Error(got)
	}
}

func TestPlatform(t *testing.T) {
	p, _ := New(Spec{Order: SemVer, Platform: "linux/arm64"})
	got := p.Evaluate([]Tag{
		{Name: "1.0.0", Platforms: []string{"linux/amd64", "linux/arm64/v8"}},
		{Name: "1.1.0", Platforms: []string{"linux/amd64"}},
		{Name: "1.2.0"},
		{Name: "1.3.0", Gone: true},
		{Name: "1.4.0", Platforms: []string{}},
	}, now)
	want := map[string]Reason{"1.1.0": OtherPlatform, "1.2.0": PlatformUnknown, "1.3.0": Gone, "1.4.0": OtherPlatform}
	if diff := cmp.Diff(want, reasons(got)); diff != "" || got.Chosen.Name != "1.0.0" || !slices.Equal(got.Missing, []string{"1.2.0"}) {
		t.Error(got, diff)
	}
}

func TestNewest(t *testing.T) {
	p, err := FromFilter("glob:main-*")
	if err != nil {
		t.Fatal(err)
	}
	list := []Tag{
		{Name: "main-10", Created: now.Add(-3 * time.Hour)}, {Name: "main-9", Created: now.Add(-time.Hour)},
		{Name: "main-8", Gone: true}, {Name: "dev-1", Created: now}, {Name: "latest", Created: now},
	}
	if got := p.Evaluate(list, now); got.Chosen.Name != "main-9" || got.Incomplete {
		t.Error(got)
	}
	got := p.Evaluate(append(list, tags("main-2", "main-11")...), now)
	if !got.Incomplete || got.Chosen.Name != "" || !slices.Equal(got.Missing, []string{"main-11", "main-2"}) {
		t.Errorf("half a picture: %+v", got)
	}
}

func TestFromFilter(t *testing.T) {
	created := []Tag{{Name: "1.9", Created: now.Add(-time.Hour)}, {Name: "1.10", Created: now.Add(-2 * time.Hour)}, {Name: "latest", Created: now}}
	for filter, want := range map[string]string{"": "1.9", "glob:*": "1.9", "1.1*": "1.10", "semver:~1": "1.10", "semver: >= 1.0, <1.10": "1.9", "regex:^1": "1.9", "regexp:0$": "1.10", "glob:latest": "latest"} {
		p, err := FromFilter(filter)
		if err != nil {
			t.Errorf("%q: %v", filter, err)
			continue
		}
		if got := p.Evaluate(created, now); got.Chosen.Name != want {
			t.Errorf("%q chose %q, not %q", filter, got.Chosen.Name, want)
		}
	}
}

func TestInvalidPolicies(t *testing.T) {
	long := strings.Repeat("a", maxPattern+1)
	for _, spec := range []Spec{{}, {Order: "x"}, {Order: SemVer, Range: "one"}, {Order: SemVer, Range: long}, {Order: Numerical, Pattern: "("}, {Order: Numerical, Pattern: long},
		{Order: Numerical, Extract: long}, {Order: Newest, Match: "x"}, {Order: Newest, Match: "regex:("}, {Order: Newest, Match: "semver:one"}, {Order: Newest, Match: "glob:" + long}, {Order: Newest, Platform: "linux"}, {Order: Newest, MinAge: -1}} {
		if _, err := New(spec); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.200v: %v", spec, err)
		}
	}
	for _, filter := range []string{"semver:", "semver:one", "regex:(", "regexp:["} {
		if _, err := FromFilter(filter); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", filter, err)
		}
	}
}

func TestFromObject(t *testing.T) {
	object := &imagev1.ImagePolicy{Spec: imagev1.ImagePolicySpec{
		Policy:     imagev1.ImagePolicyChoice{Alphabetical: &imagev1.AlphabeticalPolicy{Order: "desc"}},
		FilterTags: &imagev1.TagFilter{Pattern: "^v(.*)$", Extract: "$1"},
	}}
	p, err := FromObject(object)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Spec{Order: Alphabetical, Descending: true, Pattern: "^v(.*)$", Extract: "$1"}, p.spec); diff != "" {
		t.Error(diff)
	}
	object.Annotations = map[string]string{OrderAnnotation: "newest", TagsAnnotation: "glob:v*", MinAgeAnnotation: "1h30m", PlatformAnnotation: "linux/amd64"}
	if p, err = FromObject(object); err != nil {
		t.Fatal(err)
	}
	want := Spec{Order: Newest, Pattern: "^v(.*)$", Extract: "$1", Match: "glob:v*", MinAge: 90 * time.Minute, Platform: "linux/amd64"}
	if diff := cmp.Diff(want, p.spec); diff != "" {
		t.Error(diff)
	}
	for key, value := range map[string]string{OrderAnnotation: "oldest", MinAgeAnnotation: "1 day", TagsAnnotation: "v*", PlatformAnnotation: "../x"} {
		bad := object.DeepCopy()
		bad.Annotations[key] = value
		if _, err := FromObject(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

func TestRankTellsADowngrade(t *testing.T) {
	p, _ := New(Spec{Order: SemVer, Range: "1.x"})
	if c, ok := p.Rank(Tag{Name: "1.9.0"}, Tag{Name: "2.0.0"}); !ok || c >= 0 {
		t.Error("1.9.0 does not rank above 2.0.0, which is outside of the range", c, ok)
	}
	if _, ok := p.Rank(Tag{Name: "1.9.0"}, Tag{Name: "stable"}); ok {
		t.Error("stable has no rank")
	}
}

// The order is total: antisymmetric, transitive, and what is chosen ranks above
// all other candidates, whatever order they come in.
func TestOrderIsTotal(t *testing.T) {
	pool := []string{"1.0.0", "v1.0.0", "1.0.0+a", "1.0.0+b", "1.0.0-rc.1", "1.0", "1", "01", "001", "1e0", "0x1p0", "20260101123456789012", "20260101123456789013", "a", "A", "a-1", "-1", "2.0.0", "v2", "main-ab-1", "main-cd-1", "1.00", "+1", ".5", "1_0"}
	r := rand.New(rand.NewPCG(1, 2))
	for _, spec := range []Spec{{Order: SemVer}, {Order: SemVer, Loose: true}, {Order: Numerical}, {Order: Numerical, Descending: true}, {Order: Alphabetical}, {Order: Alphabetical, Descending: true, Pattern: "(.)$", Extract: "$1"}, {Order: Newest}} {
		p, err := New(spec)
		if err != nil {
			t.Fatal(err)
		}
		list := tags(pool...)
		for i := range list {
			list[i].Created = now.Add(time.Duration(r.IntN(4)) * time.Second)
		}
		for _, a := range list {
			for _, b := range list {
				ab, ok := p.Rank(a, b)
				ba, _ := p.Rank(b, a)
				if ok && (ab != -ba || (ab == 0) != (a.Name == b.Name)) {
					t.Fatalf("%v: %s %s: %d %d", spec, a.Name, b.Name, ab, ba)
				}
				for _, c := range list {
					bc, ok2 := p.Rank(b, c)
					ac, _ := p.Rank(a, c)
					if ok && ok2 && ab > 0 && bc > 0 && ac <= 0 {
						t.Fatalf("%v: %s > %s > %s", spec, a.Name, b.Name, c.Name)
					}
				}
			}
		}
		first := p.Evaluate(list, now)
		for range 20 {
			r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			if diff := cmp.Diff(first, p.Evaluate(list, now)); diff != "" {
				t.Fatalf("%v depends on the order of the listing: %s", spec, diff)
			}
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("semver", "1.x", "^v?(.*)$", "$1", "glob:*1*", "1.0.0 v1.2.3 latest x 1.0.0+b")
	f.Add("numerical", "", "", "", "", "1 2 3e5 NaN 0x1 inf")
	f.Add("alphabetical", "", "(a+)+$", "${1}${1}", "regex:a", "aaaa aaab")
	f.Fuzz(func(t *testing.T, order, versions, pattern, extract, match, list string) {
		p, err := New(Spec{Order: Order(order), Range: versions, Pattern: pattern, Extract: extract, Match: match, SkipLatest: true})
		if err != nil {
			return
		}
		names := strings.Fields(list)
		slices.Sort(names)
		all := tags(slices.Compact(names)...)
		got := p.Evaluate(all, now)
		total := 0
		for _, n := range got.Counts {
			total += n
		}
		if got.Chosen.Name != "" {
			total++
			for _, other := range all {
				if c, ok := p.Rank(got.Chosen, other); ok && c < 0 && reasons(got)[other.Name] == Lower {
					t.Errorf("%q was chosen, %q is better", got.Chosen.Name, other.Name)
				}
			}
		}
		if total != len(all) {
			t.Errorf("%d of %d tags are accounted for", total, len(all))
		}
	})
}
