package main

import (
	"fmt"

	"orrery/scenarios"
	"orrery/sim/plan"
)

// checkCmd is `sim check`: validates a scenario and prints it resolved, with
// the origin of every value.
type checkCmd struct {
	File string   `arg:"" help:"Scenario (TOML)."`
	Set  []string `placeholder:"path.to.key=value" help:"Override a key of the scenario; may be repeated." sep:"none"`
}

func (c *checkCmd) Run(std *streams) error {
	res, err := scenarios.Load(c.File, c.Set)
	if err != nil {
		return badInput(err)
	}
	if _, err := plan.New(&res.Scenario); err != nil {
		return badInput(fmt.Errorf("%s: %w", c.File, err))
	}
	return res.WriteOrigins(std.out)
}
