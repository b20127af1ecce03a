package controlplane

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithFlags(t *testing.T) {
	ours := []string{"--port=1", "--disable=A", "--profiling=false"}
	for name, test := range map[string]struct{ more, want []string }{
		"none":              {nil, ours},
		"another one":       {[]string{"--v=2"}, []string{"--port=1", "--disable=A", "--profiling=false", "--v=2"}},
		"one of ours":       {[]string{"--disable=B"}, []string{"--port=1", "--profiling=false", "--disable=B"}},
		"one without value": {[]string{"--profiling"}, []string{"--port=1", "--disable=A", "--profiling"}},
		"one of ours twice": {[]string{"--disable=B", "--disable=C"}, []string{"--port=1", "--profiling=false", "--disable=B", "--disable=C"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, withFlags(ours, test.more)); diff != "" {
				t.Errorf("flags (-want +got):\n%s", diff)
			}
		})
	}
}
