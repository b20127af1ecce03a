// Command webhook-receiver takes the calls of git hosts, registries and programs: it turns one into a hint that wakes what it is about.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/webhook-receiver/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("webhook-receiver", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
