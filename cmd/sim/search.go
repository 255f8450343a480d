package main

import (
	"context"
	"fmt"
)

// searchCmd is `sim search`.
type searchCmd struct {
	Schedule bool `help:"Search for a pipeline order."`
	JSON     bool `name:"json" help:"Print one JSON document and nothing else."`
	scheduleSearch
}

func (c *searchCmd) Run(ctx context.Context, std *streams) error {
	if !c.Schedule {
		return badInput(fmt.Errorf("search: only orders of a pipeline are searched for yet: sim search --schedule --stages P --microbatches M"))
	}
	return c.run(ctx, std, c.JSON)
}
