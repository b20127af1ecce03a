// Package handler turns one ImagePolicy into the choice of an image, a status and a fact.
package handler

import (
	"context"

	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/imagecache"
	"github.com/sluice-cd/sluice/libs/kube"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/libs/service"
	"github.com/sluice-cd/sluice/libs/stage"
)

// Config is what the stage stands on.
type Config struct {
	Env        *service.Env
	Events     *kube.Events
	Cache      *imagecache.Cache
	Registries *registry.Client
	Access     *imageaccess.Resolver
	Slots      int // policies evaluated at once
}

// New makes the stage, and watches what wakes it. It is called before the cache of the cluster starts.
func New(_ context.Context, _ Config) (*stage.Stage, error) { return nil, nil }
