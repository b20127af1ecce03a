package template

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	texttemplate "text/template"

	"github.com/Masterminds/sprig/v3"
)

// tickName is the function by which loops look at the clock.
const tickName = "sluiceTick"

// allowed are the functions of sprig that templates may call: those that give the same for the same arguments, change no argument, and
// neither ask the machine they run on nor make keys.
var allowed = []string{
	"abbrev", "abbrevboth", "trunc", "trim", "upper", "lower", "title", "untitle", "substr", "repeat", "trimAll", "trimSuffix", "trimPrefix", "nospace",
	"initials", "swapcase", "snakecase", "camelcase", "kebabcase", "wrap", "wrapWith", "contains", "hasPrefix", "hasSuffix", "quote", "squote", "cat",
	"indent", "nindent", "replace", "plural", "sha1sum", "sha256sum", "adler32sum", "toString", "toStrings", "join", "split", "splitList", "splitn",
	"atoi", "int64", "int", "float64", "add", "add1", "sub", "div", "mod", "mul", "max", "min", "ceil", "floor", "round", "until", "untilStep", "seq",
	"default", "empty", "coalesce", "all", "any", "ternary", "compact", "toJson", "toPrettyJson", "fromJson", "b64enc", "b64dec", "b32enc", "b32dec",
	"typeOf", "typeIs", "kindOf", "kindIs", "deepEqual", "base", "dir", "clean", "ext", "isAbs", "list", "dict", "get", "hasKey", "pluck", "keys", "pick", "omit", "values",
	"dig", "append", "prepend", "first", "rest", "last", "initial", "reverse", "uniq", "without", "has", "slice", "concat", "chunk",
	"regexMatch", "regexFindAll", "regexFind", "regexReplaceAll", "regexReplaceAllLiteral", "regexSplit", "regexQuoteMeta", "semver", "semverCompare",
	"urlParse", "urlJoin", "fail",
}

const (
	maxNodes   = 200_000  // elements in a value, the elements' own counted
	maxText    = 4 << 20  // bytes in a value
	maxDepth   = 64       // of a value
	maxNumber  = 10_000   // where a number says how often
	maxProduct = 16 << 20 // bytes that a function may make of its arguments
)

// functions are those that a template may call, as long as ctx lasts.
func functions(ctx context.Context) texttemplate.FuncMap {
	all, out := sprig.HermeticTxtFuncMap(), texttemplate.FuncMap{tickName: func() (string, error) { return "", over(ctx) }}
	for _, name := range allowed {
		if f, ok := all[name]; ok {
			out[name] = bounded(ctx, name, reflect.ValueOf(f))
		}
	}
	for name, f := range map[string]any{"print": fmt.Sprint, "println": fmt.Sprintln, "printf": printf, "sortAlpha": sortCopy(all["sortAlpha"].(func(any) []string))} {
		out[name] = bounded(ctx, name, reflect.ValueOf(f))
	}
	return out
}

// sortCopy makes of a function that sorts in place one that leaves its argument as it is.
func sortCopy(sort func(any) []string) func(any) []string {
	return func(list any) []string {
		if all, ok := list.([]string); ok {
			list = slices.Clone(all)
		}
		return sort(list)
	}
}

func over(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// wide is a width or precision of four digits or more, or one that an argument gives.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4,}|\*)`)

func printf(format string, args ...any) (string, error) {
	if wide.MatchString(format) {
		return "", errors.New("a width of four digits is too much")
	}
	return fmt.Sprintf(format, args...), nil
}

// bounded is a function that looks at the clock and at the size of what it gets and gives.
func bounded(ctx context.Context, name string, f reflect.Value) any {
	results := []reflect.Type{f.Type().Out(0), reflect.TypeFor[error]()}
	in := make([]reflect.Type, f.Type().NumIn())
	for i := range in {
		in[i] = f.Type().In(i)
	}
	kind := reflect.FuncOf(in, results, f.Type().IsVariadic())
	return reflect.MakeFunc(kind, func(args []reflect.Value) []reflect.Value {
		zero := reflect.Zero(results[0])
		if err := check(ctx, name, args); err != nil {
			return []reflect.Value{zero, reflect.ValueOf(&err).Elem()}
		}
		call := f.Call
		if f.Type().IsVariadic() {
			call = f.CallSlice
		}
		got := call(args)
		err := sized(got[0])
		if len(got) > 1 && !got[1].IsNil() {
			err, _ = got[1].Interface().(error)
		}
		if err != nil {
			return []reflect.Value{zero, reflect.ValueOf(&err).Elem()}
		}
		return []reflect.Value{got[0], reflect.Zero(results[1])}
	}).Interface()
}

// check says why a function must not be called: its time is over, or it would make too much of its arguments.
func check(ctx context.Context, name string, args []reflect.Value) error {
	if err := over(ctx); err != nil {
		return err
	}
	product := 1
	for _, a := range args {
		m := measure{}
		if err := m.walk(a, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if slices.Contains(multiplying, name) {
			if m.number > maxNumber {
				return fmt.Errorf("%s: the number %d is too much", name, m.number)
			}
			product *= max(1, m.text, m.nodes, m.number)
		}
		if product > maxProduct {
			return fmt.Errorf("%s: that would be too much text", name)
		}
	}
	return nil
}

// multiplying are the functions that can make far more than they get.
var multiplying = []string{
	"repeat", "indent", "nindent", "until", "untilStep", "seq", "replace", "regexReplaceAll", "regexReplaceAllLiteral", "join", "wrapWith", "wrap", "plural",
}

func sized(v reflect.Value) error {
	m := measure{}
	return m.walk(v, 0)
}

// measure counts what a value is made of, as if all of it were written out.
type measure struct{ nodes, text, number int }

func (m *measure) walk(v reflect.Value, depth int) error {
	if m.nodes++; m.nodes > maxNodes || m.text > maxText || depth > maxDepth {
		return errors.New("a value is too large")
	}
	switch v.Kind() {
	case reflect.String:
		m.text += v.Len()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		m.number = max(m.number, int(max(v.Int(), -v.Int())))
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return m.walk(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := m.walk(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if err := errors.Join(m.walk(key, depth+1), m.walk(v.MapIndex(key), depth+1)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := m.walk(v.Field(i), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
