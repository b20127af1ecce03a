// Command git-watcher follows git repositories: it turns a GitRepository into an artifact and a fact.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/services/git-watcher/app"
)

// memoryGoal makes the garbage collector work harder before the process takes more than a pod has, where GOMEMLIMIT says nothing else.
const memoryGoal = 400 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryGoal)
	}
	config := app.DefaultConfig()
	service.Main("git-watcher", func(f *pflag.FlagSet) func() error {
		config.AddFlags(f)
		return config.Validate
	}, func(ctx context.Context, env *service.Env) error {
		return app.Run(ctx, env, config)
	})
}
