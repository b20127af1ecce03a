package edit

import (
	"errors"

	"github.com/sluice-cd/sluice/services/image-updater/internal/imageref"
)

// ErrUnknownPolicy is what a Chooser says of a policy that does not exist.
var ErrUnknownPolicy = errors.New("no such ImagePolicy")

// ErrLeave is what a Chooser says where a place shall stay as it is without
// this being worth a word: another automation's policy, one that has chosen
// nothing yet, one that is held.
var ErrLeave = errors.New("left as it is")

// Chooser decides what a marked place should hold. It sees the present value.
type Chooser func(Marker) (imageref.Ref, error)

// Change is one value that was changed.
type Change struct {
	Place         // with the value before
	Policy Policy // of a marker
	New    string
}

// Result is a file after an update.
type Result struct {
	Data     []byte // the new content; the old one when Changes is empty
	Changes  []Change
	Problems []*Problem
}

// Update sets all marked values of a file. Places that cannot be served are
// problems and keep no other place from being served; the error is about an
// edit that could not be made, and then the file stays as it is.
func Update(name string, data []byte, choose Chooser) (Result, error) {
	result := Result{Data: data}
	if !HasMarkers(data) {
		return result, nil
	}
	f, err := Parse(name, data)
	if err != nil {
		var p *Problem
		errors.As(err, &p)
		result.Problems = append(result.Problems, p)
		return result, nil
	}
	markers, problems := f.Markers()
	result.Problems = problems
	var replacements []Replacement
	for _, m := range markers {
		r, problem := f.follow(m, choose)
		if problem != nil {
			result.Problems = append(result.Problems, problem)
		}
		if r != nil {
			replacements = append(replacements, *r)
			result.Changes = append(result.Changes, Change{Place: m.Place, Policy: m.Policy, New: r.Value})
		}
	}
	if len(replacements) == 0 {
		return result, nil
	}
	edited, err := f.Apply(replacements)
	if err != nil {
		return Result{Data: data, Problems: result.Problems}, err
	}
	result.Data = edited
	return result, nil
}

// follow asks what the place should hold. It returns nothing when that is so.
func (f *File) follow(m Marker, choose Chooser) (*Replacement, *Problem) {
	ref, err := choose(m)
	switch {
	case errors.Is(err, ErrLeave):
		return nil, nil
	case errors.Is(err, ErrUnknownPolicy):
		return nil, f.problem(m.Line, UnknownPolicy, "marker names the policy %s, which does not exist", m.Policy)
	case err != nil:
		return nil, f.problem(m.Line, InvalidValue, "%v", err)
	}
	value, err := m.Want(ref)
	if err != nil {
		return nil, f.problem(m.Line, InvalidValue, "%v", err)
	}
	if value == m.Value {
		return nil, nil
	}
	if _, err := m.file.encode(m.leaf, value); err != nil {
		var p *Problem
		errors.As(err, &p)
		return nil, p
	}
	return &Replacement{Place: m.Place, Value: value}, nil
}
