// Package logs makes the logger of a program from its flags. It imports little, for programs that are to stay small.
package logs

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// Config says what is logged and how.
type Config struct {
	Level  string // debug, info, warn, error
	Format string // json, text
}

// AddFlags defines a flag for each setting.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.Format, "log-format", "json", "json or text")
}

// Logger makes the logger that the settings ask for, to standard error.
func (c *Config) Logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", c.Level)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch strings.ToLower(c.Format) {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want json or text", c.Format)
}
