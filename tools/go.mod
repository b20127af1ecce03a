module github.com/sluice-cd/sluice/tools

go 1.26.0

require (
	github.com/sluice-cd/sluice/deploy v0.0.0
	github.com/sluice-cd/sluice/libs v0.0.0
	github.com/sluice-cd/sluice/proto v0.0.0
	github.com/sluice-cd/sluice/services/applier v0.0.0
	github.com/sluice-cd/sluice/services/git-watcher v0.0.0
	github.com/sluice-cd/sluice/services/manifest-renderer v0.0.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
)

replace (
	github.com/sluice-cd/sluice/deploy => ../deploy
	github.com/sluice-cd/sluice/libs => ../libs
	github.com/sluice-cd/sluice/proto => ../proto
	github.com/sluice-cd/sluice/services/applier => ../services/applier
	github.com/sluice-cd/sluice/services/git-watcher => ../services/git-watcher
	github.com/sluice-cd/sluice/services/manifest-renderer => ../services/manifest-renderer
)
