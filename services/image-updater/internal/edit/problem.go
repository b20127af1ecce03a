package edit

import "fmt"

// Reason is the kind of a Problem, a word from a closed list.
type Reason string

const (
	// NotYAML is a file that has something to update and does not parse.
	NotYAML Reason = "NotYAML"
	// TooLarge is a file that has something to update and exceeds MaxFileSize.
	TooLarge Reason = "TooLarge"
	// MalformedMarker is a marker that does not say which policy it means.
	MalformedMarker Reason = "MalformedMarker"
	// MisplacedMarker is a marker where no scalar can be told that it marks.
	MisplacedMarker Reason = "MisplacedMarker"
	// UnknownPolicy is a marker whose policy does not exist.
	UnknownPolicy Reason = "UnknownPolicy"
	// InvalidValue is a value that must not be written at the place.
	InvalidValue Reason = "InvalidValue"
	// InvalidTarget is an annotated workload whose image cannot be understood.
	InvalidTarget Reason = "InvalidTarget"
)

// Problem is something in a file that keeps it, or one place in it, from being
// updated. It is an error that starts with file:line.
type Problem struct {
	File    string
	Line    int // counted from 1; 0 when it is about the file
	Reason  Reason
	Message string
}

// Error is the problem in one line.
func (p *Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

func (f *File) problem(line int, reason Reason, format string, args ...any) *Problem {
	return &Problem{File: f.Name, Line: line, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
