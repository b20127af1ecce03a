package wire

import (
	"errors"
	"strings"
	"testing"
)

// band wraps packets, or text, in a packet of a band.
func band(number byte, content string) string { return string(number) + content }

func packets(texts ...string) string { m := lines(texts...); return m.String() }

func TestReports(t *testing.T) {
	ok := packets("unpack ok\n", "ok refs/heads/main\n", "flush")
	for name, test := range map[string]struct {
		answer string
		kind   error // nil: the push was done
		words  string
	}{
		"without bands":       {ok, nil, ""},
		"in a band":           {packets(band(2, "hello\n"), band(1, ok), "flush"), nil, ""},
		"in pieces":           {packets(band(1, ok[:7]), band(2, "hello"), band(1, ok[7:]), "flush"), nil, ""},
		"refused":             {packets("unpack ok\n", "ng refs/heads/main pre-receive hook declined\n", "flush"), ErrDeclined, "pre-receive"},
		"lost":                {packets("unpack ok\n", "ng refs/heads/main failed to update ref\n", "flush"), ErrRaceLost, ""},
		"GitHub":              {packets(band(2, "error: GH013: Repository rule violations found"), band(1, packets("unpack ok", "ng refs/heads/main push declined due to repository rule violations", "flush")), "flush"), ErrProtected, "GH013"},
		"Gerrit":              {packets("unpack ok", "ng refs/heads/main prohibited by Gerrit: not permitted: update", "flush"), ErrProtected, ""},
		"Azure":               {packets("unpack ok", "ng refs/heads/main TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.", "flush"), ErrProtected, ""},
		"unpacking failed":    {packets("unpack index-pack abnormal exit\n", "ng refs/heads/main unpacker error\n", "flush"), ErrRefused, "index-pack"},
		"another ref":         {packets("unpack ok\n", "ok refs/heads/other\n", "flush"), ErrRefused, "no reason given"},
		"contradictory":       {packets("unpack failed\n", "ok refs/heads/main\n", "flush"), ErrRefused, "unpack failed"},
		"control characters":  {packets("unpack ok\n", "ng refs/heads/main \x1b[31mno\rnever\n", "flush"), ErrRefused, "[31mno never"},
		"no report":           {packets("flush"), errAny, "did not say"},
		"cut off":             {ok[:len(ok)-10], errAny, ""},
		"fatal":               {packets(band(3, "out of disk")), errAny, "out of disk"},
		"garbage":             {packets("what"), errAny, ""},
		"garbage in the band": {packets(band(1, "zzzz"), "flush"), errAny, ""},
		"too much":            {strings.Repeat(packets(band(1, strings.Repeat("x", 60000))), 20), ErrTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := new(Pusher).outcome(t.Context(), strings.NewReader(test.answer), []Update{{Ref: "refs/heads/main"}})
			switch {
			case test.kind == nil && err != nil, test.kind != nil && err == nil:
				t.Fatalf("got %v", err)
			case test.kind != nil && test.kind != errAny && !errors.Is(err, test.kind):
				t.Fatalf("got %v, want %v", err, test.kind)
			case err != nil && !strings.Contains(err.Error(), test.words):
				t.Errorf("%q does not say %q", err, test.words)
			}
		})
	}
}

var errAny = errors.New("any")

func FuzzReport(f *testing.F) {
	f.Add(packets(band(1, packets("unpack ok\n", "ok refs/heads/main\n", "flush")), "flush"))
	f.Fuzz(func(t *testing.T, answer string) {
		err := new(Pusher).outcome(t.Context(), strings.NewReader(answer), []Update{{Ref: "refs/heads/main"}})
		if err == nil && !strings.Contains(answer, "unpack ") {
			t.Fatalf("%q counts as done", answer)
		}
	})
}
