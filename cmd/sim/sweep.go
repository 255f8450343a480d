package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"orrery/sim/report"
	"orrery/sim/sweep"
)

// sweepCmd is `sim sweep`: one scenario at many points.
type sweepCmd struct {
	Run   sweepRunCmd   `cmd:"" default:"withargs" help:"Compute the points of a sweep, or go on with it."`
	Merge sweepMergeCmd `cmd:"" help:"Put the shards of a sweep together."`
}

type sweepRunCmd struct {
	File    string `arg:"" help:"Sweep (TOML): a file, or one of sim list sweeps."`
	Out     string `placeholder:"DIR" help:"Folder of journal and results; default the sweep's name with .sweep."`
	Workers int    `default:"0" help:"Points computed at a time; 0 is one a core. Results do not depend on it."`
	Shard   string `placeholder:"I/N" help:"Compute the I-th (from 0) of N equal parts. Slurm's array tasks and Kubernetes' indexed jobs tell by themselves."`
	Shards  int    `placeholder:"N" help:"Number of parts where the environment has the index only, and of --emit."`
	Restart bool   `help:"Discard what earlier runs computed."`
	List    bool   `help:"Print the points and compute none."`
	Emit    string `enum:",slurm,k8s" default:"" placeholder:"slurm|k8s" help:"Print a job that runs the shards on Slurm or Kubernetes."`
	Image   string `placeholder:"IMAGE" help:"Container image that has sim, of --emit k8s."`
	Claim   string `placeholder:"NAME" default:"sweep" help:"Volume claim that holds the sweep and its folder, of --emit k8s."`
	JSON    bool   `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *sweepRunCmd) Run(ctx context.Context, std *streams) error {
	if c.Workers < 0 {
		return badInput(fmt.Errorf("--workers is %d, must be 0 or more", c.Workers))
	}
	if c.Shards < 0 || c.Shards > sweep.MaxShards {
		return badInput(fmt.Errorf("--shards is %d, must be from 0 to %d", c.Shards, sweep.MaxShards))
	}
	if c.Out == "" {
		c.Out = strings.TrimSuffix(filepath.Base(c.File), ".toml") + ".sweep"
	}
	if c.Emit != "" {
		return c.emit(std)
	}
	spec, err := sweep.Load(c.File)
	if err != nil {
		return badInput(err)
	}
	if c.List {
		return c.list(std, spec)
	}
	shard, from, err := sweep.ShardOf(c.Shard, c.Shards, os.Getenv)
	if err != nil {
		return badInput(err)
	}
	if from != "" {
		fmt.Fprintf(std.err, "sim: %s, by %s\n", shard, from)
	}
	// Schedulers ask with SIGTERM before they kill. A second signal kills.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	bar := newProgress(std)
	rep, err := sweep.Run(ctx, spec, sweep.Options{Dir: c.Out, Shard: shard, Workers: c.Workers, Restart: c.Restart, Progress: bar.point})
	bar.end()
	if errors.Is(err, sweep.ErrInterrupted) {
		done := rep.Reused + rep.Computed
		return checkFailed(fmt.Errorf("interrupted with %d of %d points done; the same command goes on", done, rep.Own))
	}
	if err != nil {
		return badInput(err)
	}
	if c.JSON {
		err = writeJSON(std.out, rep)
	} else {
		err = c.print(std, spec, rep, shard)
	}
	if err == nil && rep.Counts[sweep.Failed] > 0 {
		err = checkFailed(fmt.Errorf("%d points failed; the same command tries them again", rep.Counts[sweep.Failed]))
	}
	return err
}

// list prints the points that the sweep asks for.
func (c *sweepRunCmd) list(std *streams, spec *sweep.Spec) error {
	points, err := spec.Points()
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.JSON {
		out := make([]map[string]any, len(points.List))
		for i, p := range points.List {
			out[i] = p.Map()
		}
		return writeJSON(std.out, out)
	}
	for i, p := range points.List {
		if _, err := fmt.Fprintf(std.out, "%d  %s\n", i, sweep.Describe(p.Values)); err != nil {
			return err
		}
	}
	return nil
}

func (c *sweepRunCmd) print(std *streams, spec *sweep.Spec, rep *sweep.Report, shard sweep.Shard) error {
	head := fmt.Sprintf("%s: %d points", spec.Name, rep.Points)
	if rep.Distinct < rep.Points {
		head += fmt.Sprintf(", %d of them different", rep.Distinct)
	}
	if shard.Of > 1 {
		head += fmt.Sprintf("; %s has %d", shard, rep.Own)
	}
	lines := []string{head, fmt.Sprintf("%d computed, %d done before: %s", rep.Computed, rep.Reused, report.SweepCounts(rep.Counts))}
	for _, x := range rep.Excluded {
		lines = append(lines, fmt.Sprintf("%d left out: %s", x.Points, x.Reason))
	}
	if rep.Damaged > 0 {
		lines = append(lines, fmt.Sprintf("%d damaged lines of journals are not counted; their points were computed again", rep.Damaged))
	}
	if rep.Results != "" {
		lines = append(lines, "wrote "+rep.Results, "sim results "+c.Out+" shows it")
	} else {
		lines = append(lines, "sim sweep merge "+c.Out+" puts the shards together")
	}
	for _, l := range lines {
		if err := report.Para(std.out, l); err != nil {
			return err
		}
	}
	return nil
}
