package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Default is the message where no template is given.
const Default = "Update from image update automation"

const (
	maxTemplate = 64 << 10 // bytes
	maxOutput   = 64 << 10 // bytes
	maxTime     = time.Second
)

var (
	// ErrTemplate is about a template that cannot be read, or that cannot be carried out.
	ErrTemplate = errors.New("invalid template")
	// ErrRemoved is about a template that uses a field that there is no more.
	ErrRemoved = errors.New("template uses a removed field")
)

// Template is a template that was read. It may be used by many at once.
type Template struct{ root *template.Template }

// Parse reads a template; an empty text is Default. Its error is ErrTemplate.
func Parse(text string) (*Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrTemplate, maxTemplate)
	}
	t, err := template.New("message").Option("missingkey=default").Funcs(functions(context.Background())).Parse(cmp.Or(text, Default))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	tick, err := template.New("tick").Funcs(functions(context.Background())).Parse("{{" + tickName + "}}")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	for _, part := range t.Templates() {
		if part.Tree != nil && part.Root != nil {
			watch(part.Root, tick.Root.Nodes[0])
			prepend(part.Root, tick.Root.Nodes[0])
		}
	}
	return &Template{t}, nil
}

// watch puts a look at the clock at the beginning of each loop's body: a loop that writes nothing and calls nothing would have no other.
func watch(node parse.Node, tick parse.Node) {
	branch := func(lists ...*parse.ListNode) {
		for _, l := range lists {
			if l != nil {
				watch(l, tick)
			}
		}
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			watch(child, tick)
		}
	case *parse.IfNode:
		branch(n.List, n.ElseList)
	case *parse.WithNode:
		branch(n.List, n.ElseList)
	case *parse.RangeNode:
		branch(n.List, n.ElseList)
		prepend(n.List, tick)
	}
}

func prepend(list *parse.ListNode, tick parse.Node) {
	list.Nodes = append([]parse.Node{tick.Copy()}, list.Nodes...)
}

// Execute carries the template out. Its error is ErrTemplate or ErrRemoved.
func (t *Template) Execute(ctx context.Context, data Data) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("it takes longer than %s", maxTime))
	defer cancel()
	own, err := t.root.Clone()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	out := &output{}
	err = own.Funcs(functions(ctx)).Execute(out, data)
	if err == nil {
		return out.String(), nil
	}
	for _, field := range []string{"Updated", "ImageResult"} {
		if strings.Contains(err.Error(), "can't evaluate field "+field+" in type message.") {
			return "", fmt.Errorf("%w: %s; use .Changed.FileChanges, .Changed.Objects or .Changed.Changes", ErrRemoved, field)
		}
	}
	return "", fmt.Errorf("%w: %w", ErrTemplate, err)
}

// output takes only so much.
type output struct{ strings.Builder }

func (o *output) Write(p []byte) (int, error) {
	if o.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("the result has more than %d bytes", maxOutput)
	}
	return o.Builder.Write(p)
}
