package main

import (
	"context"
	"fmt"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/report"
)

// prefillCmd is `sim prefill`: requests to a served model.
type prefillCmd struct {
	File    string   `arg:"" help:"Scenario with [serving] (TOML)."`
	Set     []string `placeholder:"path.to.key=value" help:"Override a key of the scenario; may be repeated." sep:"none"`
	JSON    bool     `name:"json" help:"Print one JSON document and nothing else."`
	Threads int      `default:"0" help:"Threads; 0 is all cores. Results do not depend on it."`
}

func (c *prefillCmd) Run(ctx context.Context, std *streams) error {
	if c.Threads < 0 {
		return badInput(fmt.Errorf("--threads is %d, must be 0 or more", c.Threads))
	}
	limitThreads(c.Threads)
	res, err := scenarios.Load(c.File, c.Set)
	if err != nil {
		return badInput(err)
	}
	r, err := sim.Prefill(ctx, &res.Scenario)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.JSON {
		err = writeJSON(std.out, r)
	} else {
		err = report.Prefill(std.out, r, std.colour)
	}
	if err != nil {
		return err
	}
	return expectations(r.Expect)
}
