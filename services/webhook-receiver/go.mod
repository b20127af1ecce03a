module github.com/sluice-cd/sluice/services/webhook-receiver

go 1.26.0

require (
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/fluxcd/notification-controller/api v1.9.4
)

replace github.com/sluice-cd/sluice/libs => ../../libs

replace github.com/sluice-cd/sluice/proto => ../../proto
