package gauge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

type sample struct {
	labels map[string]string
	value  float64
}

// parse reads the samples of one counter from metrics in text form. Only that counter's lines are parsed: an API server's metrics
// are megabytes.
func parse(text io.Reader, name string) ([]sample, error) {
	var own strings.Builder
	own.WriteString("# TYPE " + name + " counter\n")
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, name+"{") {
			own.WriteString(line + "\n")
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(own.String()))
	if err != nil {
		return nil, err
	}
	var samples []sample
	for _, m := range families[name].GetMetric() {
		s := sample{labels: map[string]string{}, value: m.GetCounter().GetValue()}
		for _, pair := range m.GetLabel() {
			s.labels[pair.GetName()] = pair.GetValue()
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// stageRuns are the runs of each stage since the start of the services that serve metrics at the URLs.
func stageRuns(ctx context.Context, urls map[string]string) (map[string]float64, error) {
	runs := map[string]float64{}
	for _, url := range urls {
		if err := addStageRuns(ctx, url, runs); err != nil {
			return nil, fmt.Errorf("read metrics of a service: %w", err)
		}
	}
	return runs, nil
}

func addStageRuns(ctx context.Context, url string, runs map[string]float64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	samples, err := parse(response.Body, "sluice_stage_runs_total")
	for _, s := range samples {
		runs[s.labels["stage"]] += s.value
	}
	return err
}
