package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/compare"
	"orrery/sim/report"
)

// compareCmd is `sim compare`: what tells two runs apart.
type compareCmd struct {
	A    string   `arg:"" help:"Scenario (TOML), or result.json of a run."`
	B    string   `arg:"" optional:"" help:"Another; A again if left out."`
	Set  []string `placeholder:"path.to.key=value" help:"Override a key of scenario B; may be repeated." sep:"none"`
	JSON bool     `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *compareCmd) Run(ctx context.Context, std *streams) error {
	if c.B == "" {
		if len(c.Set) == 0 {
			return badInput(errors.New("one scenario alone: name another, or --set what changes"))
		}
		c.B = c.A
	}
	a, err := sideOf(ctx, c.A, nil)
	if err != nil {
		return err
	}
	b, err := sideOf(ctx, c.B, c.Set)
	if err != nil {
		return err
	}
	res := compare.Compare(a, b)
	if c.JSON {
		return writeJSON(std.out, res)
	}
	return report.Compare(std.out, res, std.colour)
}

// sideOf reads a result, or runs a scenario.
func sideOf(ctx context.Context, file string, sets []string) (compare.Side, error) {
	if data, err := os.ReadFile(file); err == nil && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		if len(sets) > 0 {
			return compare.Side{}, badInput(fmt.Errorf("%s is a result: --set needs a scenario", file))
		}
		r, err := compare.Read(file, data)
		if err != nil {
			return compare.Side{}, badInput(err)
		}
		return compare.Side{Result: r}, nil
	}
	res, err := scenarios.Load(file, sets)
	if err != nil {
		return compare.Side{}, badInput(err)
	}
	run, err := sim.Simulate(ctx, &res.Scenario, sim.Options{})
	if err != nil {
		return compare.Side{}, badInput(fmt.Errorf("%s: %w", file, err))
	}
	return compare.Side{Result: run.Result, Inputs: res.Origins}, nil
}
