module github.com/sluice-cd/sluice/services/git-watcher

go 1.26.0

require (
	github.com/sluice-cd/sluice/libs v0.0.0
	github.com/sluice-cd/sluice/proto v0.0.0
)

replace (
	github.com/sluice-cd/sluice/libs => ../../libs
	github.com/sluice-cd/sluice/proto => ../../proto
)
