package door

import (
	"context"
	"fmt"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"github.com/sluice-cd/sluice/libs/expression"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// readProviders prepares spec.oidcProviders, by issuer.
func readProviders(from []receiverv1.OIDCProvider) (map[string]*provider, error) {
	list := map[string]*provider{}
	for i := range from {
		p := &from[i]
		at := fmt.Sprintf("spec.oidcProviders[%d]", i)
		if p.IssuerURL == "" || list[p.IssuerURL] != nil || len(p.Validations) == 0 {
			return nil, &Error{receiverv1.ValidationFailedReason, fmt.Errorf("%s: needs an issuer of its own, and a validation", at)}
		}
		read, err := readProvider(p)
		if err != nil {
			return nil, &Error{meta.InvalidCELExpressionReason, fmt.Errorf("%s: %w", at, err)}
		}
		list[p.IssuerURL] = read
	}
	return list, nil
}

func readProvider(from *receiverv1.OIDCProvider) (*provider, error) {
	p := &provider{audience: from.GetAudience()}
	for _, v := range from.Variables {
		value, err := expression.CompileValue(v.Expression, "claims", "vars")
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		p.variables = append(p.variables, variable{v.Name, value})
	}
	for _, v := range from.Validations {
		holds, err := expression.CompileSmall(v.Expression, "claims", "vars")
		if err != nil {
			return nil, fmt.Errorf("validation %q: %w", v.Message, err)
		}
		p.validations = append(p.validations, validation{v.Message, holds})
	}
	return p, nil
}

// Audience is for whom a token of an issuer must be; false for an issuer that does not count.
func (d *Door) Audience(issuer string) (string, bool) {
	p := d.rules.providers[issuer]
	if p == nil {
		return "", false
	}
	return p.audience, true
}

// Accepts says whether the claims of an issuer's token are those that a Receiver asks for. An error is verify.ErrForged.
func (d *Door) Accepts(ctx context.Context, issuer string, claims map[string]any) error {
	p := d.rules.providers[issuer]
	if p == nil {
		return verify.ErrForged
	}
	vars := map[string]any{}
	known := map[string]any{"claims": claims, "vars": vars}
	for _, v := range p.variables {
		value, err := v.value.Value(ctx, known)
		if err != nil {
			return fmt.Errorf("%w: variable %s", verify.ErrForged, v.name)
		}
		vars[v.name] = value
	}
	for _, v := range p.validations {
		if yes, err := v.holds.Bool(ctx, known); err != nil || !yes {
			return fmt.Errorf("%w: %s", verify.ErrForged, v.message)
		}
	}
	return nil
}
