package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// tone is what a text is to the eye; without colours it is nothing.
type tone string

const (
	plain  tone = ""
	bold   tone = "1"
	faint  tone = "2"
	bad    tone = "1;31"
	good   tone = "1;32"
	warned tone = "33"
	calm   tone = "36"
)

// console writes what happens for people to read.
type console struct {
	out    io.Writer
	colour bool
}

// newConsole uses colours only on a terminal that can show them, and not where NO_COLOR asks for none.
func newConsole(out io.Writer) *console {
	file, ok := out.(*os.File)
	colour := ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &console{out: out, colour: colour}
}

func (c *console) paint(t tone, text string) string {
	if !c.colour || t == plain {
		return text
	}
	return "\033[" + string(t) + "m" + text + "\033[0m"
}

func (c *console) line(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// started says that something the demo needs is there.
func (c *console) started(what, detail string, took time.Duration) {
	c.line("  %s %-14s %s %s", c.paint(good, "ready"), what, detail, c.paint(faint, fmt.Sprintf("(%.1f s)", took.Seconds())))
}

// pushed says what is pushed now.
func (c *console) pushed(number, title string, details []string) {
	c.line("\n%s  %s", c.paint(bold, fmt.Sprintf("%2s", number)), c.paint(bold, title))
	for _, d := range details {
		c.line("    %s", c.paint(faint, d))
	}
}

// stage says what has happened to a push, and how long after it.
func (c *console) stage(after time.Duration, name string, t tone, text string) {
	c.line("  %6d ms  %s %s", after.Milliseconds(), c.paint(t, fmt.Sprintf("%-10s", name)), oneLine(text))
}

// oneLine keeps the message of a failure on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
