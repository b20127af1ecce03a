package edit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// written is a generated file: what stands in it, and what must stand there
// after an update by chosen.
type written struct {
	data, want []byte
	marked     int // values that change
}

// corpus are n files of varied style, the same in every run.
func corpus(n int) []written {
	files := make([]written, n)
	for i := range files {
		files[i] = newWriter(rand.New(rand.NewPCG(uint64(i), 4))).file()
	}
	return files
}

// writer writes a file twice: as it is, and as it must become.
type writer struct {
	*rand.Rand
	in, out bytes.Buffer
	eol     string
	step    int // indentation of maps
	dash    int // of lists in maps
	marked  int
	anchors int
	nested  int // block strings around this text
}

func newWriter(r *rand.Rand) *writer {
	w := &writer{Rand: r, eol: "\n", step: 1 + r.IntN(4)}
	if r.IntN(4) == 0 {
		w.eol = "\r\n"
	}
	w.dash = r.IntN(w.step + 1)
	return w
}

func (w *writer) file() written {
	if w.IntN(10) == 0 {
		w.both(byteOrderMark)
	}
	if w.IntN(8) == 0 {
		w.line("# " + w.words())
	}
	docs := 1 + w.IntN(3)
	for i := range docs {
		if i > 0 || w.IntN(2) == 0 {
			w.line("---" + w.pick("", " # a document", " "))
		}
		w.document()
		if i+1 < docs && w.IntN(6) == 0 {
			w.line("...")
		}
	}
	in, out := w.in.Bytes(), w.out.Bytes()
	if w.IntN(5) == 0 { // no line end at the end
		in, out = bytes.TrimSuffix(in, []byte(w.eol)), bytes.TrimSuffix(out, []byte(w.eol))
	}
	return written{data: in, want: out, marked: w.marked}
}

func (w *writer) document() {
	if w.IntN(6) == 0 {
		w.list(0, 3)
		return
	}
	w.mapping(0, 4)
}

func (w *writer) mapping(indent, depth int) {
	for i := range 1 + w.IntN(4) {
		w.noise(indent)
		key := strings.Repeat(" ", indent) + w.key(i)
		w.entry(key+":", indent, depth)
	}
}

func (w *writer) entry(prefix string, indent, depth int) {
	switch k := w.IntN(12); {
	case k < 3 && depth > 0:
		w.line(prefix + w.pick("", " # "+w.words(), " &a"+fmt.Sprint(w.next())))
		w.mapping(indent+w.step, depth-1)
	case k < 5 && depth > 0:
		w.line(prefix)
		w.list(indent+w.dash, depth-1)
	case k == 5:
		w.flow(prefix, indent)
	case k == 6:
		w.block(prefix, indent)
	case k == 7 && depth > 0 && w.nested < maxInner:
		w.inner(prefix, indent)
	default:
		w.scalar(prefix + w.pick(" ", "  ", "    "))
	}
}

func (w *writer) list(indent, depth int) {
	pad := strings.Repeat(" ", indent)
	for range 1 + w.IntN(4) {
		w.noise(indent)
		switch {
		case w.IntN(4) == 0 && depth > 0:
			w.line(pad + "- " + "first: " + w.plain())
			w.mapping(indent+2, depth-1)
		case w.IntN(5) == 0:
			marker, _, now := w.marker("tag")
			w.line(pad + marker)
			w.value(pad+"- ", "old", now, "")
		default:
			w.scalar(pad + "- ")
		}
	}
}

// scalar writes a value, marked or not, in one of the styles.
func (w *writer) scalar(prefix string) {
	anchor := w.pick("", "", "", fmt.Sprintf("&n%d ", w.next()), "!!str ")
	if w.IntN(3) > 0 {
		w.line(prefix + anchor + w.quote(w.plain()) + w.pick("", "", " # "+w.words(), "\t# \ttabs"))
		return
	}
	marker, old, now := w.marker(w.pick("image", "tag", "name", "digest"))
	w.value(prefix+anchor, old, now, w.pick(" ", "   ", "\t")+marker)
}

// value writes one value as it is and as it becomes.
func (w *writer) value(prefix, old, now, suffix string) {
	q := w.pick("", "\"", "'")
	w.in.WriteString(prefix + q + old + q + suffix + w.eol)
	w.out.WriteString(prefix + q + now + q + suffix + w.eol)
	w.marked++
}

// marker is a comment, and a value for it before and after.
func (w *writer) marker(part string) (comment, old, now string) {
	name := "ns:pinned"
	if part != "image" {
		name += ":" + part
	}
	comment = w.pick(`# {"$imagepolicy": "`+name+`"}`, `#{"$imagepolicy":"`+name+`"}`, `#  { "$imagepolicy" : "`+name+`" }  `)
	switch part {
	case "image":
		return comment, w.pick("ghcr.io/org/app:v1.2.3", "app:1", "localhost:5000/a/b@"+oldDigest), "ghcr.io/org/app:v2.0.0@" + newDigest
	case "tag":
		return comment, w.pick("v1.2.3", "old", "1.9", "main-0abc"), "v2.0.0"
	case "name":
		return comment, w.pick("app", "docker.io/library/app"), "ghcr.io/org/app"
	}
	return comment, oldDigest, newDigest
}

// flow writes a list or map in brackets, over one line or several.
func (w *writer) flow(prefix string, indent int) {
	pad := strings.Repeat(" ", indent+1+w.IntN(3))
	switch w.IntN(4) {
	case 0:
		w.line(prefix + " [" + w.plain() + ", 'b',\"c\" ]")
	case 1:
		w.line(prefix + " {x: " + w.plain() + ", \"y\":[1,2]} # " + w.words())
	case 2:
		marker, old, now := w.marker("image")
		w.line(prefix + " [")
		w.value(pad, old, now, ", "+marker)
		w.line(pad + w.plain() + " ]")
	default:
		marker, old, now := w.marker("tag")
		w.line(prefix + " { name: x,")
		w.value(pad+"\"newTag\": ", old, now, " "+marker)
		w.line(pad + "}")
	}
}

// block writes a block string that must stay as it is.
func (w *writer) block(prefix string, indent int) {
	pad := strings.Repeat(" ", indent+1+w.IntN(4))
	w.line(prefix + " " + w.pick("|", "|-", "|+", ">", ">-"))
	for range 1 + w.IntN(3) {
		w.line(pad + w.pick("#!/bin/sh", "image: x:1 # not marked", "\"quoted", "- a", "key: [") + w.pick("", "  "))
		if w.IntN(3) == 0 {
			w.line("")
			w.line(pad + "more")
		}
	}
}

// inner writes a block string with YAML in it that has markers.
func (w *writer) inner(prefix string, indent int) {
	pad := strings.Repeat(" ", indent+1+w.IntN(4))
	nested := newWriter(w.Rand)
	nested.eol, nested.nested = "\n", w.nested+1
	nested.mapping(0, 1)
	w.line(prefix + " " + w.pick("|", "|-", "|+"))
	indented := func(text string) string {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for i := range lines {
			if lines[i] != "" {
				lines[i] = pad + lines[i]
			}
		}
		return strings.Join(lines, w.eol) + w.eol
	}
	w.in.WriteString(indented(nested.in.String()))
	w.out.WriteString(indented(nested.out.String()))
	w.marked += nested.marked
}

// noise writes comments and blank lines between entries.
func (w *writer) noise(indent int) {
	pad := strings.Repeat(" ", indent)
	switch w.IntN(10) {
	case 0:
		w.line("")
	case 1:
		w.line(pad + "# " + w.words())
	case 2:
		w.line(pad + `# image: x:1 # {"$imagepolicy": "ns:app"}`)
	}
}

func (w *writer) key(i int) string {
	k := w.pick("image", "tag", "name", "Ünïcode", "a-b", "a.b/c", "世界", "x y") + fmt.Sprint(i)
	return w.pick(k, k, "\""+k+"\"", "'"+k+"'")
}

func (w *writer) plain() string {
	return w.pick("x", "1.20", "true", "null", "~", "app:1", "a/b", "some words", "2024-01-01", "𝄞", "https://x.example/a=b#c", "-1", "a#b")
}

func (w *writer) quote(s string) string {
	return w.pick(s, s, "\""+s+"\"", "'"+s+"'", "'it''s # "+s+"'", "\"\\\"# \\u00e9 "+s+"\"")
}

func (w *writer) words() string { return w.pick("a comment", "image: x", "TODO: {x}", "ümläut", "") }

func (w *writer) next() int { w.anchors++; return w.anchors }

func (w *writer) pick(choices ...string) string { return choices[w.IntN(len(choices))] }

func (w *writer) line(s string) { w.both(s + w.eol) }

func (w *writer) both(s string) {
	w.in.WriteString(s)
	w.out.WriteString(s)
}
