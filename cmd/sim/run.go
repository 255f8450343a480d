package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/report"
)

// runCmd is `sim run`: a scenario in, a report out.
type runCmd struct {
	File    string   `arg:"" help:"Scenario (TOML)."`
	Set     []string `placeholder:"path.to.key=value" help:"Override a key of the scenario; may be repeated." sep:"none"`
	Out     string   `placeholder:"DIR" help:"Write result.json, timeline.pftrace, timeline.json.gz and report.html there."`
	JSON    bool     `name:"json" help:"Print one JSON document and nothing else."`
	Expand  bool     `help:"Simulate every rank instead of one for each set of equal ones."`
	Threads int      `default:"0" help:"Threads for work outside the timeline; 0 is all cores. Results do not depend on it."`
}

func (c *runCmd) Run(ctx context.Context, std *streams) error {
	if c.Threads < 0 {
		return badInput(fmt.Errorf("--threads is %d, must be 0 or more", c.Threads))
	}
	limitThreads(c.Threads)
	res, err := scenarios.Load(c.File, c.Set)
	if err != nil {
		return badInput(err)
	}
	run, err := sim.Simulate(ctx, &res.Scenario, sim.Options{Expand: c.Expand})
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.Out != "" {
		if err := writeOutputs(c.Out, run); err != nil {
			return err
		}
	}
	if c.JSON {
		err = writeJSON(std.out, run.Result)
	} else {
		err = report.Text(std.out, run.Result, std.colour)
		if err == nil && c.Out != "" {
			_, err = fmt.Fprintf(std.out, "wrote result.json, timeline.pftrace, timeline.json.gz, report.html to %s\n", c.Out)
		}
	}
	if err != nil {
		return err
	}
	return verdict(run.Result)
}

// verdict is exit code 1 where the job does not fit or misses an expectation.
func verdict(r *sim.Result) error {
	if !r.Fits {
		return checkFailed(fmt.Errorf("the job does not fit in memory"))
	}
	return expectations(r.Expect)
}

// expectations is exit code 1 where one is missed.
func expectations(list []sim.Expectation) error {
	for _, e := range list {
		if !e.OK {
			return checkFailed(fmt.Errorf("%s is %.4g, expected %.4g ± %.0f %%", e.Metric, e.Got, e.Expected, 100*e.Tolerance))
		}
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeOutputs writes the four files of --out, each under a temporary name
// that is renamed once it is whole.
func writeOutputs(dir string, run *sim.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return badInput(err)
	}
	files := []struct {
		name  string
		write func(io.Writer) error
	}{
		{"result.json", func(w io.Writer) error { return writeJSON(w, run.Result) }},
		{"timeline.pftrace", func(w io.Writer) error { return report.Perfetto(w, run) }},
		{"timeline.json.gz", func(w io.Writer) error { return report.Chrome(w, run) }},
		{"report.html", func(w io.Writer) error { return report.HTML(w, run) }},
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	return nil
}
