// Command applier makes clusters equal to the rendered sets of Kustomizations.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/applier/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("applier", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
