package edit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// prove parses the edited text and holds it against the one before: the leaves
// in expected have these values now, everything else is what it was, comments
// and styles included.
func (f *File) prove(data []byte, expected map[int]string) error {
	docs, err := decode(data)
	if err != nil {
		return fmt.Errorf("edit %s: %w: %w", f.Name, ErrNotProven, err)
	}
	if len(docs) != len(f.docs) {
		return fmt.Errorf("edit %s: %w: %d documents instead of %d", f.Name, ErrNotProven, len(docs), len(f.docs))
	}
	for i := range docs {
		if err := f.same(f.docs[i], docs[i], expected); err != nil {
			return fmt.Errorf("edit %s: %w: line %d: %w", f.Name, ErrNotProven, docs[i].Line, err)
		}
	}
	return nil
}

func (f *File) same(before, now *yaml.Node, expected map[int]string) error {
	if i, ok := f.byNode[before]; ok {
		if value, intended := expected[i]; intended {
			return sameButValue(before, now, value)
		}
	}
	if before.Value != now.Value || before.Tag != now.Tag || before.Style != now.Style {
		return fmt.Errorf("%.60q became %.60q", before.Value, now.Value)
	}
	if err := sameSurroundings(before, now); err != nil {
		return err
	}
	for i := range before.Content {
		if err := f.same(before.Content[i], now.Content[i], expected); err != nil {
			return err
		}
	}
	return nil
}

// sameButValue compares a scalar that was edited. Quotes may have been added to
// a plain value that would not be a string without.
func sameButValue(before, now *yaml.Node, value string) error {
	got := now.Value
	if isBlock(before) {
		got, value = strings.Trim(got, "\n"), strings.Trim(value, "\n")
	}
	if got != value || now.ShortTag() != "!!str" && now.Tag != before.Tag {
		return fmt.Errorf("value is %.60q, not %.60q", now.Value, value)
	}
	const quotes = yaml.DoubleQuotedStyle
	if now.Style != before.Style && now.Style&^quotes != before.Style {
		return fmt.Errorf("style of %.60q changed", value)
	}
	return sameSurroundings(before, now)
}

func sameSurroundings(before, now *yaml.Node) error {
	switch {
	case before.Kind != now.Kind, before.Anchor != now.Anchor, len(before.Content) != len(now.Content):
		return fmt.Errorf("structure changed at %.60q", before.Value)
	case before.HeadComment != now.HeadComment, before.LineComment != now.LineComment, before.FootComment != now.FootComment:
		return fmt.Errorf("comment changed at %.60q", before.Value)
	}
	return nil
}
