// Command image-updater turns listings of tags into choices of images, and choices into commits.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/image-updater/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("image-updater", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
