package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"orrery/calibrate"
	"orrery/kernels/bench"
	"orrery/kernels/sample"
)

// calibrateRunCmd measures what the suites hold, as much as the budget allows.
type calibrateRunCmd struct {
	Only     string `placeholder:"GLOB" help:"Only cases whose ID matches: FAMILY/KERNEL/DTYPE/SHAPE; without * or ? a beginning is enough."`
	Budget   string `default:"8m" help:"Wall-clock time after which no case is begun."`
	All      bool   `help:"Measure everything, however long it takes, then kernels/probe/probe.py if torch is there."`
	Out      string `placeholder:"FILE" help:"File to write or to resume; default samples-GPU.csv."`
	Launcher string `placeholder:"NAME" help:"How to reach the driver; default dlopen."`
	Device   int    `default:"0" help:"GPU, from 0."`
}

func (c *calibrateRunCmd) Run(ctx context.Context, std *streams) (err error) {
	budget, err := time.ParseDuration(c.Budget)
	if err != nil || budget <= 0 {
		return badInput(fmt.Errorf("--budget is %q, must be a time like 90s, 8m or 1h", c.Budget))
	}
	if c.All {
		budget = 0
	}
	s, err := openGPU(c.Launcher, c.Device)
	if err != nil {
		return badInput(err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if c.Out == "" {
		c.Out = "samples-" + slug(s.header.GPU) + ".csv"
	}
	if _, err := calibrate.NewPlan(bench.Suites(), c.Only, s.gpus, nil); err != nil { // before a file is begun
		return badInput(err)
	}
	file, before, cut, err := sample.Append(c.Out, s.header)
	if err != nil {
		return badInput(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	plan, err := calibrate.NewPlan(bench.Suites(), c.Only, s.gpus, before.Rows)
	if err != nil {
		return badInput(err)
	}
	printPlan(std, s.header, c.Out, plan, cut)
	if s.note != "" {
		fmt.Fprintln(std.out, s.note)
	}
	got, err := calibrate.Collector{Measure: s.measure, Add: file.Add, Now: time.Now, Budget: budget, Progress: progressLine(std.out)}.Run(ctx, plan.Cases)
	printCollection(std, got, c.Out)
	if err != nil {
		return checkFailed(err)
	}
	if got.Interrupted {
		return checkFailed(errors.New("interrupted; run the same command again to resume"))
	}
	if err := c.probe(ctx, std, s.header.Synthetic); err != nil {
		return checkFailed(err)
	}
	if len(got.Failed) > 0 {
		return checkFailed(fmt.Errorf("%d cases gave no row", len(got.Failed)))
	}
	return nil
}

func printPlan(std *streams, h sample.Header, out string, p calibrate.Plan, cut int) {
	fmt.Fprintf(std.out, "%s, driver %s, CUDA %s, launcher %s → %s\n", h.GPU, h.Driver, h.CUDA, h.Launcher, out)
	if h.Synthetic {
		fmt.Fprintln(std.out, "synthetic: this is a fake GPU; no number is a measurement")
	}
	if cut > 0 {
		fmt.Fprintf(std.out, "line %d was cut off by an interrupted run: removed, to be measured again\n", cut)
	}
	fmt.Fprintf(std.out, "%d cases to measure", len(p.Cases))
	if p.Have > 0 {
		fmt.Fprintf(std.out, ", %d measured before", p.Have)
	}
	if p.Stale > 0 {
		fmt.Fprintf(std.out, ", %d again because their kernel has changed", p.Stale)
	}
	if p.TooFewGPUs > 0 {
		fmt.Fprintf(std.out, ", %d left out that need more GPUs", p.TooFewGPUs)
	}
	fmt.Fprintln(std.out)
	for _, name := range slices.Sorted(maps.Keys(p.Missing)) {
		fmt.Fprintf(std.out, "suite %s cannot run: %s\n", name, p.Missing[name])
	}
}

// progressLine prints a line for each case.
func progressLine(w io.Writer) func(done, total int, c bench.Case, r sample.Row, err error) {
	return func(done, total int, c bench.Case, r sample.Row, err error) {
		if err != nil {
			fmt.Fprintf(w, "[%d/%d] %s: no row: %v\n", done, total, c.ID(), err)
			return
		}
		rate := ""
		if r.Unit == "us" && r.Median > 0 {
			switch {
			case c.FLOPs > 0:
				rate = fmt.Sprintf(", %.4g TFLOP/s", c.FLOPs/r.Median/1e6)
			case c.Bytes > 0:
				rate = fmt.Sprintf(", %.4g GB/s", c.Bytes/r.Median/1e3)
			}
		}
		sure := ""
		if !r.Within {
			sure = fmt.Sprintf(" (%.4g to %.4g: not within 2 %%)", r.Low, r.High)
		}
		fmt.Fprintf(w, "[%d/%d] %s: %.4g %s%s%s\n", done, total, c.ID(), r.Median, r.Unit, rate, sure)
	}
}

func printCollection(std *streams, got calibrate.Collection, out string) {
	fmt.Fprintf(std.out, "%d rows measured", got.Measured)
	if len(got.Failed) > 0 {
		fmt.Fprintf(std.out, ", %d cases gave none", len(got.Failed))
	}
	if got.Left > 0 {
		fmt.Fprintf(std.out, ", %d cases left: the same command goes on", got.Left)
	}
	fmt.Fprintf(std.out, "; %s\n", out)
}

// probeScript measures what only frameworks ship; from the project's root.
const probeScript = "kernels/probe/probe.py"

// probe says how to run the probe, or runs it.
func (c *calibrateRunCmd) probe(ctx context.Context, std *streams, synthetic bool) error {
	out := strings.TrimSuffix(c.Out, ".csv") + "-torch.csv"
	line := fmt.Sprintf("python3 %s --out %s --resume", probeScript, out)
	fmt.Fprintf(std.out, "attention and grouped GEMM of PyTorch are measured by: %s\n", line)
	if !c.All || synthetic {
		return nil
	}
	if _, err := os.Stat(probeScript); err != nil {
		fmt.Fprintf(std.out, "not run: no %s here; --all runs it from the project's root\n", probeScript)
		return nil
	}
	if err := exec.CommandContext(ctx, "python3", "-c", "import torch").Run(); err != nil {
		fmt.Fprintln(std.out, "not run: python3 cannot import torch")
		return nil
	}
	args := []string{probeScript, "--out", out, "--resume"}
	if c.Only != "" {
		args = append(args, "--only", c.Only)
	}
	probe := exec.CommandContext(ctx, "python3", args...)
	probe.Stdout, probe.Stderr = std.out, std.err
	if err := probe.Run(); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}

// slug makes a file name of a GPU's name.
func slug(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.TrimPrefix(name, "NVIDIA "))), "-")
}
