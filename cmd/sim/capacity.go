package main

import (
	"context"
	"fmt"

	"orrery/scenarios"
	"orrery/sim/capacity"
	"orrery/sim/report"
)

// capacityCmd is `sim capacity`: how many GPUs, for how long, at what cost.
type capacityCmd struct {
	File    string `arg:"" help:"Capacity plan (TOML)."`
	JSON    bool   `name:"json" help:"Print one JSON document and nothing else."`
	Threads int    `default:"0" help:"Threads of the Monte Carlo; 0 is all cores. Results do not depend on it."`
}

func (c *capacityCmd) Run(ctx context.Context, std *streams) error {
	if c.Threads < 0 {
		return badInput(fmt.Errorf("--threads is %d, must be 0 or more", c.Threads))
	}
	limitThreads(c.Threads)
	plan, err := scenarios.LoadCapacity(c.File)
	if err != nil {
		return badInput(err)
	}
	res, err := capacity.Plan(ctx, plan)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	if c.JSON {
		err = writeJSON(std.out, res)
	} else {
		err = report.Capacity(std.out, res, plan.Start, std.colour)
	}
	if err != nil {
		return err
	}
	if res.Chosen < 0 {
		return checkFailed(fmt.Errorf("no machine of the plan does it"))
	}
	for _, e := range res.Expect {
		if !e.OK {
			return checkFailed(fmt.Errorf("%s is %.4g, expected %.4g ± %.0f %%", e.Metric, e.Got, e.Expected, 100*e.Tolerance))
		}
	}
	return nil
}
