// Package template carries out text templates that users write. Templates are hostile: they reach no file, network, environment or clock, and
// are bounded in time and size. What their data can do they can do, so data is values without methods.
package template

import (
	"context"
	"errors"
	"fmt"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"
)

const (
	maxTemplate = 64 << 10 // bytes
	maxOutput   = 64 << 10 // bytes
)

// ErrInvalid is about a template that cannot be read, or that cannot be carried out.
var ErrInvalid = errors.New("invalid template")

// Template is a template that was read. It may be used by many at once.
type Template struct{ root *texttemplate.Template }

// Parse reads a template. Its error is ErrInvalid.
func Parse(text string) (*Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrInvalid, maxTemplate)
	}
	t, err := texttemplate.New("message").Option("missingkey=default").Funcs(functions(context.Background())).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	tick, err := texttemplate.New("tick").Funcs(functions(context.Background())).Parse("{{" + tickName + "}}")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
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

// Execute carries the template out, for no longer than limit. Its error is ErrInvalid.
func (t *Template) Execute(ctx context.Context, data any, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than %s", limit))
	defer cancel()
	own, err := t.root.Clone()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	out := &output{}
	if err := own.Funcs(functions(ctx)).Execute(out, data); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return out.String(), nil
}

// output takes only so much.
type output struct{ strings.Builder }

func (o *output) Write(p []byte) (int, error) {
	if o.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("the result has more than %d bytes", maxOutput)
	}
	return o.Builder.Write(p)
}
