package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A bench of two applications: that each row says something, not what it says.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("brings up a whole installation")
	}
	markdown := filepath.Join(t.TempDir(), "bench.md")
	o, err := parse([]string{"-apps=2", "-pushes=1", "-rounds=1", "-chains=1", "-spacing=0s", "-rows=install,all,one,none,chain,memory", "-json", "-o=" + markdown})
	if err != nil {
		t.Fatal(err)
	}
	o.lab.Progress = t.Output()
	var out bytes.Buffer
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var rows struct {
		Rows []struct {
			Name    string
			Samples []int64 `json:"samplesNanoseconds"`
			Usage   struct {
				Requests map[string]float64
				Peak     map[string]int64 `json:"peakBytes"`
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows.Rows) != 8 {
		t.Fatalf("got %d rows: %s", len(rows.Rows), out.String())
	}
	install := rows.Rows[0]
	if len(install.Samples) != 2 || install.Usage.Requests["APPLY deployments"] != 2 || len(install.Usage.Peak) != 4 {
		t.Errorf("install: %+v", install)
	}
	if text, err := os.ReadFile(markdown); err != nil || !strings.Contains(string(text), "| "+install.Name+" | 2 applications | ") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestUnknownRow(t *testing.T) {
	if _, err := parse([]string{"-rows=install,nothing"}); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("got %v", err)
	}
}
