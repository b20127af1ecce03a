package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/libs/template"
)

// Default is the message where no template is given.
const Default = "Update from image update automation"

// maxTime is how long a template may take.
const maxTime = time.Second

var (
	// ErrTemplate is about a template that cannot be read, or that cannot be carried out.
	ErrTemplate = template.ErrInvalid
	// ErrRemoved is about a template that uses a field that there is no more.
	ErrRemoved = errors.New("template uses a removed field")
)

// Template is a template that was read. It may be used by many at once.
type Template struct{ root *template.Template }

// Parse reads a template; an empty text is Default. Its error is ErrTemplate.
func Parse(text string) (*Template, error) {
	root, err := template.Parse(cmp.Or(text, Default))
	if err != nil {
		return nil, err
	}
	return &Template{root}, nil
}

// Execute carries the template out. Its error is ErrTemplate or ErrRemoved.
func (t *Template) Execute(ctx context.Context, data Data) (string, error) {
	text, err := t.root.Execute(ctx, data, maxTime)
	if err == nil {
		return text, nil
	}
	for _, field := range []string{"Updated", "ImageResult"} {
		if strings.Contains(err.Error(), "can't evaluate field "+field+" in type message.") {
			return "", fmt.Errorf("%w: %s; use .Changed.FileChanges, .Changed.Objects or .Changed.Changes", ErrRemoved, field)
		}
	}
	return "", err
}
