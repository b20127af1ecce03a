package handler

import (
	"github.com/sluice-cd/sluice/libs/imageaccess"
	"github.com/sluice-cd/sluice/libs/registry"
	"github.com/sluice-cd/sluice/services/registry-scanner/internal/config"
)

// Settings are what the installation allows.
type Settings struct {
	maxTags int
	rules   imageaccess.Rules
}

// NewSettings reads the settings.
func NewSettings(c config.Config) *Settings { return &Settings{maxTags: c.MaxTags, rules: c.Rules} }

func (s *Settings) scans(i registry.Image) bool { return s.rules.Scans(i) }

func (s *Settings) allowsInsecure(i registry.Image) bool { return s.rules.AllowsInsecure(i) }
