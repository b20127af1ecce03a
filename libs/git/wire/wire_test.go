package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	one = strings.Repeat("1", 40)
	two = strings.Repeat("2", 40)
)

func lines(texts ...string) *message {
	m := new(message)
	for _, text := range texts {
		switch text {
		case "flush":
			m.flush()
		case "delim":
			m.delim()
		default:
			m.printf("%s", text)
		}
	}
	return m
}

func TestAdvertisements(t *testing.T) {
	for name, test := range map[string]struct {
		texts []string
		v2    bool
		refs  []Ref
		caps  map[string]string
	}{
		"v2":             {[]string{"version 2\n", "agent=git/2\n", "fetch=shallow\n", "flush"}, true, nil, map[string]string{"agent": "git/2", "fetch": "shallow"}},
		"v2 with header": {[]string{"# service=git-upload-pack\n", "flush", "version 2\n", "flush"}, true, nil, map[string]string{}},
		"v0": {[]string{"# service=git-upload-pack\n", "flush", one + " HEAD\x00ofs-delta agent=x\n", one + " refs/heads/main\n", two + " refs/tags/v1\n", one + " refs/tags/v1^{}\n", "flush"},
			false, []Ref{{"HEAD", one, ""}, {"refs/heads/main", one, ""}, {"refs/tags/v1", two, one}}, map[string]string{"ofs-delta": "", "agent": "x"}},
		"v1":           {[]string{"version 1\n", one + " HEAD\x00a\n", "shallow " + two, "flush"}, false, []Ref{{"HEAD", one, ""}}, map[string]string{"a": ""}},
		"empty":        {[]string{"0000000000000000000000000000000000000000 capabilities^{}\x00a\n", "flush"}, false, nil, map[string]string{"a": ""}},
		"only a flush": {[]string{"flush"}, false, nil, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readAdvertisement(&packetReader{r: lines(test.texts...)})
			if err != nil {
				t.Fatal(err)
			}
			if s.v2 != test.v2 {
				t.Errorf("v2 is %v", s.v2)
			}
			if diff := cmp.Diff(test.refs, s.refs); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.caps, s.capabilities); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Servers answer with acknowledgements of several kinds before the pack.
func TestAcknowledgements(t *testing.T) {
	for name, test := range map[string]struct {
		shallow bool
		texts   []string
	}{
		"NAK":          {false, []string{"NAK\n"}},
		"ACK":          {false, []string{"ACK " + one + "\n"}},
		"detailed":     {true, []string{"shallow " + one, "unshallow " + two, "flush", "ACK " + one + " common\n", "ACK " + one + " ready\n", "NAK\n", "ACK " + one + "\n"}},
		"with nothing": {true, []string{"flush"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := lines(append(test.texts, "\x01PA", "\x02progress", "\x01CK", "flush")...)
			p := &packetReader{r: m}
			rest, err := acknowledgements(p, test.shallow)
			if err != nil {
				t.Fatal(err)
			}
			pack, err := io.ReadAll(&sideband{packets: p, rest: rest})
			if err != nil || string(pack) != "PACK" {
				t.Fatalf("%q, %v", pack, err)
			}
		})
	}
}

func TestSidebandErrors(t *testing.T) {
	for name, m := range map[string]*message{
		"cut off":   lines("\x01PA"),
		"fatal":     lines("\x01PA", "\x03disk failure", "flush"),
		"ERR":       lines("\x01PA", "ERR gone", "flush"),
		"empty":     lines("\x01PA", "", "flush"),
		"no band":   lines("\x01PA", "PACK", "flush"),
		"long line": bytesMessage("0005\x01fff1"),
	} {
		if pack, err := io.ReadAll(&sideband{packets: &packetReader{r: m}}); err == nil {
			t.Errorf("%s: read %q", name, pack)
		}
	}
}

func bytesMessage(text string) *message {
	m := new(message)
	m.WriteString(text)
	return m
}

func TestRemoteErrors(t *testing.T) {
	for text, kind := range map[string]error{
		"upload-pack: not our ref " + one:                   ErrNotFound,
		"ERROR: Repository not found.":                      ErrNotFound,
		"fatal: 'x' does not appear to be a git repository": ErrNotFound,
		"Permission denied (publickey).":                    ErrAuthentication,
	} {
		if err := remoteError(text); !errors.Is(err, kind) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if text := remoteError("a\nb\x1b[31m" + strings.Repeat("x", 1000)).Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 300 {
		t.Errorf("%q", text)
	}
}

func TestQuote(t *testing.T) {
	for path, want := range map[string]string{
		"/org/repo.git": `'/org/repo.git'`, "/a b": `'/a b'`, "/a'; id; '": `'/a'\''; id; '\'''`, "/a!b": `'/a'\!'b'`, "/$(id)`id`": "'/$(id)`id`'",
	} {
		if got := quote(path); got != want {
			t.Errorf("%s becomes %s", path, got)
		}
	}
}

func TestFetchKeepsHavesShallow(t *testing.T) {
	c := &Client{server: &Server{}}
	if _, err := c.Fetch(t.Context(), FetchRequest{Wants: []string{one}, Haves: []string{two}}); err == nil {
		t.Fatal("haves without their history were offered for a history")
	}
}

// Nothing that a server says may do more than fail.
func FuzzServerAnswers(f *testing.F) {
	f.Add(lines("version 2\n", "agent=x\n", "flush", one+" refs/heads/main peeled:"+two+"\n", "flush", "shallow-info\n", "shallow "+one, "delim", "packfile\n", "\x01PACK", "flush").Bytes())
	f.Add(lines(one+" HEAD\x00a b=c\n", "flush", "NAK\n", "\x01PACK", "flush").Bytes())
	f.Add([]byte("0003"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		r := bytes.NewReader(data)
		p := &packetReader{r: r}
		if s, err := readAdvertisement(p); err == nil && s.v2 {
			_, _ = readRefsV2(p)
			_ = skipToPack(p)
		} else {
			_, _ = acknowledgements(p, len(data)%2 == 0)
		}
		_, _ = io.Copy(io.Discard, &sideband{packets: p})
	})
}
