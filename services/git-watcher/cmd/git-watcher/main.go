// Command git-watcher follows git repositories: it turns a GitRepository into an artifact and a fact.
package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/git-watcher/app"
)

func main() {
	config := app.DefaultConfig()
	service.Main("git-watcher", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
