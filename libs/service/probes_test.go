package service

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Profiles tell much about a process, so they are there only where they were asked for.
func TestProfilesOnlyWhereAskedFor(t *testing.T) {
	for asked, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		mux := newProbesMux(NewRegistry(), &Probes{Pprof: asked})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1"} {
			answer := httptest.NewRecorder()
			mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
			if answer.Code != want {
				t.Errorf("asked for %t: %s answers %d; want %d", asked, path, answer.Code, want)
			}
		}
	}
}
