// Command manifest-renderer builds the objects of Kustomizations from the artifacts of their sources.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/manifest-renderer/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("manifest-renderer", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		restore, err := app.Confine(env.Log)
		if err != nil {
			return err
		}
		defer restore()
		return app.Run(ctx, env, config)
	})
}
