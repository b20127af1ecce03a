// Command registry-scanner follows images in registries: it turns an ImageRepository into a listing of tags and a fact.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/registry-scanner/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("registry-scanner", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
