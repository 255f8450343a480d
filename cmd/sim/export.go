package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/replay"
)

// exportCmd is `sim export`: what other programs run.
type exportCmd struct {
	Replay exportReplayCmd `cmd:"" help:"Write one pipeline stage for kernels/replay.py to run on a GPU."`
}

// exportReplayCmd is `sim export replay`.
type exportReplayCmd struct {
	File    string   `arg:"" optional:"" help:"Scenario (TOML), or a case of --all."`
	Stage   *int     `placeholder:"S" help:"Pipeline rank, from 0."`
	Routing string   `placeholder:"even|zipf" help:"Tokens of each local expert; even unless given."`
	Set     []string `placeholder:"path.to.key=value" help:"Override a key of the scenario; may be repeated." sep:"none"`
	All     bool     `help:"Write the cases that every GPU should run."`
	Out     string   `placeholder:"FILE.json|DIR" help:"File to write, or directory with --all; without it, standard output."`
}

func (c *exportReplayCmd) Run(ctx context.Context, std *streams) error {
	if c.All {
		return c.all(ctx, std)
	}
	if c.File == "" {
		return badInput(errors.New("no scenario: name one, or give --all"))
	}
	e, err := c.one(ctx)
	if err != nil {
		return badInput(err)
	}
	if c.Out == "" {
		return e.Write(std.out)
	}
	return writeFile(c.Out, e.Write)
}

func (c *exportReplayCmd) one(ctx context.Context) (*replay.Export, error) {
	if c.Stage == nil {
		k, err := replay.LookupCase(c.File)
		if err == nil && c.Routing == "" {
			return exportCase(ctx, k, c.Set)
		}
		return nil, fmt.Errorf("%s: no --stage: which pipeline rank, from 0", c.File)
	}
	res, err := scenarios.Load(c.File, c.Set)
	if err != nil {
		return nil, err
	}
	return export(ctx, res, replay.Options{Rank: *c.Stage, Routing: c.Routing})
}

func exportCase(ctx context.Context, k replay.Case, sets []string) (*replay.Export, error) {
	res, err := k.Load(sets)
	if err != nil {
		return nil, err
	}
	return export(ctx, res, k.Options)
}

func export(ctx context.Context, res *scenarios.Resolved, opt replay.Options) (*replay.Export, error) {
	run, err := sim.Simulate(ctx, &res.Scenario, sim.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", res.Scenario.Name, err)
	}
	return replay.New(run, opt)
}

// all writes every case to the directory of --out.
func (c *exportReplayCmd) all(ctx context.Context, std *streams) error {
	switch {
	case c.File != "" || c.Stage != nil || c.Routing != "":
		return badInput(errors.New("--all writes its own cases: no scenario, --stage or --routing beside it"))
	case c.Out == "":
		return badInput(errors.New("--all needs --out DIR"))
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return badInput(err)
	}
	for _, k := range replay.Cases {
		e, err := exportCase(ctx, k, c.Set)
		if err != nil {
			return badInput(fmt.Errorf("case %s: %w", k.Name, err))
		}
		path := filepath.Join(c.Out, k.Name+".json")
		if err := writeFile(path, e.Write); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "wrote %s: %d passes, %.3f ms predicted\n", path, len(e.Passes), float64(e.ReplayPS)/1e9)
	}
	return nil
}
