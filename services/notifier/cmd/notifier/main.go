// Command notifier tells people and systems outside what happened.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/notifier/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("notifier", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
