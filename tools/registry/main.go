// Command registry is CNCF Distribution, the registry that most others are made of, with its files on this machine's disk and nothing else: no
// cloud, no login, no proxy. Benchmarks scan it. Its first argument is "serve", the second the file with its configuration.
//
// It is a module of its own, so that what it depends on reaches no other program.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
