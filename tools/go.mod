module github.com/sluice-cd/sluice/tools

go 1.26.0

require (
	github.com/sluice-cd/sluice/libs v0.0.0
	github.com/sluice-cd/sluice/proto v0.0.0
	github.com/sluice-cd/sluice/services/git-watcher v0.0.0
	github.com/sluice-cd/sluice/services/manifest-renderer v0.0.0
	github.com/sluice-cd/sluice/services/applier v0.0.0
)

replace (
	github.com/sluice-cd/sluice/libs => ../libs
	github.com/sluice-cd/sluice/proto => ../proto
	github.com/sluice-cd/sluice/services/git-watcher => ../services/git-watcher
	github.com/sluice-cd/sluice/services/manifest-renderer => ../services/manifest-renderer
	github.com/sluice-cd/sluice/services/applier => ../services/applier
)
