package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"orrery/sim/report"
	"orrery/sim/verify"
)

// verifyCmd is `sim verify`: published runs against predictions.
type verifyCmd struct {
	Runs   string   `placeholder:"FILE.csv" help:"Runs in the format of published_runs.csv; without it, a set embedded in the program."`
	Filter []string `placeholder:"column=value" help:"Only rows whose column has this value; may be repeated." sep:"none"`
	JSON   bool     `name:"json" help:"Print one JSON document and nothing else."`

	Replay   string  `placeholder:"RESULT.json" help:"Hold a replay of one stage (kernels/replay.py) against its export instead."`
	Export   string  `placeholder:"FILE.json" help:"The export that was replayed; without it, the case of that name."`
	MaxError float64 `placeholder:"X" help:"With --replay: fail where a pass, the step or the peak is off by more than this share."`

	Explain bool `help:"Print the whole report of each row's run instead, to see why it is off."`
}

func (c *verifyCmd) Run(ctx context.Context, std *streams) error {
	if c.Replay != "" {
		return c.replay(ctx, std)
	}
	if c.Export != "" || c.MaxError != 0 {
		return badInput(errors.New("--export and --max-error belong to --replay"))
	}
	name, data := "embedded runs", verify.Embedded
	if c.Runs != "" {
		var err error
		if data, err = os.ReadFile(c.Runs); err != nil {
			return badInput(err)
		}
		name = c.Runs
	}
	rows, err := verify.Read(name, bytes.NewReader(data))
	if err != nil {
		return badInput(err)
	}
	if rows, err = verify.Filter(rows, c.Filter); err != nil {
		return badInput(fmt.Errorf("--filter: %w", err))
	}
	if len(rows) == 0 {
		return badInput(fmt.Errorf("%s: no row is left to verify (filters: %s)", name, strings.Join(c.Filter, ", ")))
	}
	if c.Explain {
		return explain(ctx, std, rows)
	}
	rep, err := verify.Run(ctx, rows)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(std.out, rep)
	}
	return report.Verify(std.out, rep)
}

// explain prints the report of each row's run, or why there is none.
func explain(ctx context.Context, std *streams, rows []verify.Row) error {
	for _, r := range rows {
		run, err := verify.Simulate(ctx, r)
		if err != nil {
			fmt.Fprintf(std.out, "%s: %v\n\n", r["id"], err)
			continue
		}
		fmt.Fprintf(std.out, "%s: %s %s measured, %s\n", r["id"], r["metric"], r["value"], r["source"])
		if err := report.Text(std.out, run.Result, std.colour); err != nil {
			return err
		}
	}
	return nil
}
