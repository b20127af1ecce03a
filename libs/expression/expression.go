// Package expression evaluates the CEL expressions that custom resources may have, in the dialect that Flux documents.
package expression

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
)

// Expression is one prepared expression.
type Expression struct{ program cel.Program }

// costLimit bounds the work of one evaluation; it is far above what an expression over one object needs. smallLimit does so for those that
// strangers may have evaluated again and again.
const (
	costLimit  = 10_000_000
	smallLimit = 100_000
)

func environment(variables ...string) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders(),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v, cel.ObjectType("google.protobuf.Struct")))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return env, nil
}

// Parse prepares an expression over the top-level fields of any object: which there are shows when it is evaluated.
func Parse(text string) (*Expression, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("parse %q: %w", text, issues.Err())
	}
	return program(env, ast, costLimit)
}

// Compile prepares an expression over objects with the given names. It must be true or false.
func Compile(text string, variables ...string) (*Expression, error) {
	return compileBool(text, costLimit, variables)
}

// CompileSmall is Compile for expressions that strangers may have evaluated again and again: it may work a hundredth as long.
func CompileSmall(text string, variables ...string) (*Expression, error) {
	return compileBool(text, smallLimit, variables)
}

func compileBool(text string, limit uint64, variables []string) (*Expression, error) {
	env, ast, err := compile(text, variables)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); t != cel.BoolType {
		return nil, fmt.Errorf("compile %q: it is a %s, want true or false", text, t)
	}
	return program(env, ast, limit)
}

// CompileValue prepares an expression over objects with the given names. It may have any value, and work as long as one of CompileSmall.
func CompileValue(text string, variables ...string) (*Expression, error) {
	env, ast, err := compile(text, variables)
	if err != nil {
		return nil, err
	}
	return program(env, ast, smallLimit)
}

// CompileText is CompileValue for an expression that must be text.
func CompileText(text string, variables ...string) (*Expression, error) {
	env, ast, err := compile(text, variables)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); t != cel.StringType && t != cel.DynType {
		return nil, fmt.Errorf("compile %q: it is a %s, want text", text, t)
	}
	return program(env, ast, smallLimit)
}

func compile(text string, variables []string) (*cel.Env, *cel.Ast, error) {
	env, err := environment(variables...)
	if err != nil {
		return nil, nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, nil, fmt.Errorf("compile %q: %w", text, issues.Err())
	}
	return env, ast, nil
}

func program(env *cel.Env, ast *cel.Ast, limit uint64) (*Expression, error) {
	// Each step looks at the time: the count of steps begins anew in each loop, and short loops within one another would never look.
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(1), cel.CostLimit(limit))
	if err != nil {
		return nil, fmt.Errorf("prepare expression: %w", err)
	}
	return &Expression{p}, nil
}

// Bool evaluates the expression.
func (e *Expression) Bool(ctx context.Context, variables map[string]any) (bool, error) {
	value, err := e.Value(ctx, variables)
	if err != nil {
		return false, err
	}
	yes, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("evaluate expression: it is a %s, want true or false", value.Type().TypeName())
	}
	return bool(yes), nil
}

// Text evaluates the expression.
func (e *Expression) Text(ctx context.Context, variables map[string]any) (string, error) {
	value, err := e.Value(ctx, variables)
	if err != nil {
		return "", err
	}
	text, ok := value.(types.String)
	if !ok {
		return "", fmt.Errorf("evaluate expression: it is a %s, want text", value.Type().TypeName())
	}
	return string(text), nil
}

// Value evaluates the expression to what it is, for another expression to use.
func (e *Expression) Value(ctx context.Context, variables map[string]any) (ref.Val, error) {
	value, _, err := e.program.ContextEval(ctx, variables)
	if err != nil {
		return nil, fmt.Errorf("evaluate expression: %w", err)
	}
	return value, nil
}
