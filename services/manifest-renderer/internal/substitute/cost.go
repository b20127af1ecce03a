package substitute

import (
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"strings"

	"github.com/fluxcd/pkg/envsubst/parse"
)

// Bounds of one object's substitution.
const (
	// maxExpressions bounds the parser's recursion, which is one or two calls
	// deep for each expression.
	maxExpressions = 20_000
	// maxBytes bounds what is written, intermediate values included.
	maxBytes = 32 << 20
	// maxSteps bounds the comparisons of patterns with values.
	maxSteps = 1 << 28
	// maxCopies bounds the bytes that the parser moves to take out escapes: it
	// copies the whole text for each.
	maxCopies = 1 << 32
)

// replacement begins an expression in which backslashes escape.
var replacement = regexp.MustCompile(`\$\{\w+/`)

// check refuses a text that costs too much to evaluate.
func (v Variables) check(text string) error {
	if n := strings.Count(text, "${"); n > maxExpressions {
		return fmt.Errorf("%d expressions, at most %d are allowed", n, maxExpressions)
	}
	if mul(escapes(text), uint64(len(text))) > maxCopies {
		return fmt.Errorf("too many escapes")
	}
	tree, err := parse.Parse(text)
	if err != nil {
		return err
	}
	c := v.costOf(tree.Root)
	if c.bytes > maxBytes || c.steps > maxSteps {
		return fmt.Errorf("the expressions expand to too much")
	}
	return nil
}

func escapes(text string) uint64 {
	n := strings.Count(text, "$$")
	if replacement.MatchString(text) {
		n += strings.Count(text, `\/`) + strings.Count(text, `\\`)
	}
	return uint64(n)
}

// cost is an upper bound: size of the result, bytes written on the way to it,
// steps of comparison.
type cost struct{ size, bytes, steps uint64 }

func (v Variables) costOf(node parse.Node) cost {
	switch n := node.(type) {
	case *parse.TextNode:
		size := uint64(len(n.Value))
		return cost{size: size, bytes: size}
	case *parse.ListNode:
		var sum cost
		for _, child := range n.Nodes {
			c := v.costOf(child)
			sum = cost{add(sum.size, c.size), add(sum.bytes, c.bytes), add(sum.steps, c.steps)}
		}
		return sum
	case *parse.FuncNode:
		return v.costOfCall(n)
	}
	return cost{}
}

func (v Variables) costOfCall(call *parse.FuncNode) cost {
	var args, total cost
	var last uint64
	for _, arg := range call.Args {
		c := v.costOf(arg)
		args = cost{add(args.size, c.size), add(args.bytes, c.bytes), add(args.steps, c.steps)}
		last = c.size
	}
	// Changing the case or reversing invalid text can triple it.
	value := mul(3, uint64(len(v.values[call.Param])))
	total.steps = args.steps
	switch call.Name {
	case "/", "/#", "/%":
		total.size = add(value, last)
	case "//":
		total.size = add(value, mul(add(value, 1), last))
	case "#", "##", "%", "%%":
		total.size = add(value, 20) // or the length as a number
		total.steps = add(args.steps, mul(mul(value, value), add(args.size, 1)))
	default:
		total.size = max(value, args.size)
	}
	if len(call.Args) == 0 {
		total.steps = args.steps
	}
	total.bytes = add(args.bytes, total.size)
	return total
}

func add(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return math.MaxUint64
}

func mul(a, b uint64) uint64 {
	if high, low := bits.Mul64(a, b); high == 0 {
		return low
	}
	return math.MaxUint64
}
