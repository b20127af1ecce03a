package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Text writes the report for a terminal.
func (r *Report) Text(out io.Writer) error {
	for _, line := range r.about() {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(header, "\t")))
	for _, row := range r.Rows {
		fmt.Fprintln(table, strings.Join(row.cells(), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if details := row.details(); len(details) > 0 {
			fmt.Fprintf(out, "\n%s\n  %s\n", row.Name, strings.Join(details, "\n  "))
		}
	}
	return nil
}

// Markdown writes the report for the documentation.
func (r *Report) Markdown(out io.Writer) error {
	fmt.Fprintf(out, "# Benchmark\n\nWritten by `go run ./tools/bench`, see its `-help`.\n\n")
	for _, line := range r.about() {
		fmt.Fprintf(out, "- %s\n", line)
	}
	fmt.Fprintf(out, "\n%s\n", reading)
	fmt.Fprintf(out, "\n| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, row := range r.Rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row.cells(), " | "))
	}
	fmt.Fprintf(out, "\n## Where it went\n")
	for _, row := range r.Rows {
		if details := row.details(); len(details) > 0 {
			fmt.Fprintf(out, "\n**%s**\n\n- %s\n", row.Name, strings.Join(details, "\n- "))
		}
	}
	return nil
}

// reading says how the table is to be read.
const reading = `Times begin right before the commit lands in the bare repository, or before the first custom resource is created, and end when a
watch brings the state that is waited for. Requests are those that the API server counted, without watches, leases, the
addresses that it gives to Services, and what the benchmark sent itself; requests, processor time and memory are of one repetition, with the
Events that follow it, and memory is the highest sum of all processes' resident memory (services and bus). The floor is the same objects, sent
by 32 workers that know beforehand what to send.`

func (r *Report) about() []string {
	m := r.Machine
	settings := make([]string, 0, len(r.Settings))
	for _, name := range sorted(r.Settings) {
		settings = append(settings, name+" "+r.Settings[name])
	}
	return []string{
		fmt.Sprintf("machine: %d cores (%s), %s memory, %s, load average at the start %s", m.Cores, m.Processor, m.Memory, m.System, m.Load),
		fmt.Sprintf("versions: commit %s, %s, Kubernetes %s, NATS %s, git %s", m.Commit, m.Go, m.Kubernetes, m.NATS, m.Git),
		fmt.Sprintf("settings: %s", strings.Join(settings, ", ")),
		fmt.Sprintf("measured: %s", r.At.UTC().Format(time.RFC3339)),
	}
}

// JSON writes the report with all samples.
func (r *Report) JSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
