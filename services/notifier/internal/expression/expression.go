// Package expression evaluates the CEL expression that a Provider may have for the names of commit statuses, in the dialect that Flux documents.
package expression

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

// Expression is one prepared expression.
type Expression struct{ program cel.Program }

const (
	// costLimit bounds the work of one evaluation; it is far above what a name needs.
	costLimit = 1_000_000
	// maxName bounds a name in bytes.
	maxName = 255
)

// Compile prepares an expression over event, alert and provider. It must be text.
func Compile(text string) (*Expression, error) {
	options := []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders(), ext.Lists(),
	}
	for _, v := range []string{"event", "alert", "provider"} {
		options = append(options, cel.Variable(v, cel.ObjectType("google.protobuf.Struct")))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("compile %q: %w", text, issues.Err())
	}
	if t := ast.OutputType(); t != cel.StringType && t != cel.DynType {
		return nil, fmt.Errorf("compile %q: it is a %s, want text", text, t)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(100), cel.CostLimit(costLimit))
	if err != nil {
		return nil, fmt.Errorf("prepare expression: %w", err)
	}
	return &Expression{program}, nil
}

// String evaluates the expression.
func (e *Expression) String(ctx context.Context, variables map[string]any) (string, error) {
	value, _, err := e.program.ContextEval(ctx, variables)
	if err != nil {
		return "", fmt.Errorf("evaluate expression: %w", err)
	}
	text, ok := value.(types.String)
	if !ok {
		return "", fmt.Errorf("evaluate expression: it is a %s, want text", value.Type().TypeName())
	}
	if text == "" || len(text) > maxName {
		return "", fmt.Errorf("evaluate expression: a name of %d bytes, want 1 to %d", len(text), maxName)
	}
	return string(text), nil
}
