package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/sim/cost"
	"orrery/sim/report"
)

// calibrateCmd is `sim calibrate`: measure → fit → profile → check.
type calibrateCmd struct {
	Run      calibrateRunCmd      `cmd:"" help:"Measure kernels on this machine's GPU."`
	Fit      calibrateFitCmd      `cmd:"" help:"Fit a profile to samples, or to tables of measured kernels."`
	Evaluate calibrateEvaluateCmd `cmd:"" help:"Price every row of tables and print the error by family."`
	Status   calibrateStatusCmd   `cmd:"" help:"What was measured, what is missing, and what each profile is fitted from."`
	Show     calibrateShowCmd     `cmd:"" help:"Measured points, fit and residuals, as tables or a plot."`
	Check    calibrateCheckCmd    `cmd:"" help:"Compare two files of samples and fail on a slowdown."`
	Import   calibrateImportCmd   `cmd:"" help:"Turn a PyTorch profiler trace, or a folder of public tables, into samples."`
}

type calibrateFitCmd struct {
	From     []string `required:"" sep:"none" placeholder:"DIR" help:"Folder of samples or tables of one GPU, searched with its subfolders; may be repeated: tables beside samples check the fit to those."`
	Profile  string   `default:"h100" help:"GPU whose profile to fit."`
	Families []string `name:"family" placeholder:"FAMILY" help:"Fit only this family; may be repeated."`
	Out      string   `placeholder:"FILE" help:"Profile file to write; default calibrate/profiles/NAME.json."`
	Date     string   `placeholder:"YYYY-MM-DD" help:"Date to note in the provenance; default today."`
	Allow    bool     `name:"allow-synthetic" help:"Fit numbers of a fake GPU too; the profile says so and must go to --out."`
	JSON     bool     `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *calibrateFitCmd) Run(ctx context.Context, std *streams) error {
	if c.Date == "" {
		c.Date = time.Now().UTC().Format(time.DateOnly)
	} else if _, err := time.Parse(time.DateOnly, c.Date); err != nil {
		return badInput(fmt.Errorf("--date: %w", err))
	}
	opt := calibrate.FitOptions{Date: c.Date, Path: c.Out, Also: c.From[1:], AllowSynthetic: c.Allow}
	for _, f := range c.Families {
		opt.Families = append(opt.Families, cost.Family(f))
	}
	_, rep, err := calibrate.Fit(ctx, c.From[0], c.Profile, opt)
	if err != nil {
		return badInput(err)
	}
	if c.JSON {
		return writeJSON(std.out, rep)
	}
	fmt.Fprintln(std.out, "errors on the fifth of the rows that this fit did not see:")
	if err := printErrors(std, rep.HeldOut); err != nil {
		return err
	}
	if len(rep.CrossCheck) > 0 {
		fmt.Fprintln(std.out, "cross-check, on rows of public tables that this fit leaves aside:")
		if err := printErrors(std, rep.CrossCheck); err != nil {
			return err
		}
	}
	if err := printTables(std, rep.Tables, rep.Unread); err != nil {
		return err
	}
	if rep.Synthetic {
		fmt.Fprintln(std.out, "synthetic: a fake GPU made these numbers; the profile is for tests")
	}
	for _, f := range slices.Sorted(maps.Keys(rep.Skipped)) {
		fmt.Fprintf(std.out, "skipped %s: %s\n", f, rep.Skipped[f])
	}
	_, err = fmt.Fprintf(std.out, "wrote %s (%d kB), fitted to all rows\n", rep.Path, rep.Bytes/1000)
	return err
}

type calibrateEvaluateCmd struct {
	From    string `required:"" placeholder:"DIR" help:"Folder of tables of one GPU, searched with its subfolders."`
	Profile string `default:"h100" help:"Profile to hold against the tables: a GPU, or a profile file (*.json)."`
	JSON    bool   `name:"json" help:"Print one JSON document and nothing else."`
}

func (c *calibrateEvaluateCmd) Run(ctx context.Context, std *streams) error {
	p, err := calibrate.Profile(c.Profile)
	if err != nil {
		return badInput(err)
	}
	ev, err := calibrate.Evaluate(ctx, c.From, p)
	if err != nil {
		return badInput(err)
	}
	if c.JSON {
		return writeJSON(std.out, ev)
	}
	fmt.Fprintf(std.out, "profile %s against %s\n", ev.Profile, ev.From)
	if err := printErrors(std, ev.Families); err != nil {
		return err
	}
	return printTables(std, ev.Tables, ev.Unread)
}

// printErrors prints errors by family, in per cent. The median and the 90 %
// quantile are those of rows of 20 us and more.
func printErrors(std *streams, families []calibrate.FamilyError) error {
	percent := func(x float64) string { return fmt.Sprintf("%.1f", 100*x) }
	var rows []table.Row
	for _, f := range families {
		median, p90 := percent(f.MedianAbsError), percent(f.P90AbsError)
		if f.CountLong == 0 {
			median, p90 = "-", "-"
		}
		rows = append(rows, table.Row{f.Family, f.DType, f.Count, f.CountLong, median, p90, percent(f.Coverage90), percent(f.MedianAbsErrorAll)})
	}
	if err := report.Table(std.out, table.Row{"family", "dtype", "rows", ">=20us", "med %", "p90 %", "in 90", "all %"}, rows); err != nil {
		return err
	}
	for _, f := range families {
		if f.Unpriced > 0 {
			fmt.Fprintf(std.out, "%s %s: %d rows without a price, the first: %s\n", f.Family, f.DType, f.Unpriced, f.Why)
		}
	}
	return nil
}

// printTables prints what was read, and what was not and why.
func printTables(std *streams, used []calibrate.TableUse, unread []string) error {
	var rows []table.Row
	total := calibrate.Rejected{}
	for _, u := range used {
		n := 0
		for why, k := range u.Rejected {
			n += k
			total[why] += k
		}
		rows = append(rows, table.Row{u.Table, u.Samples, n})
	}
	if err := report.Table(std.out, table.Row{"table", "samples", "rejected"}, rows); err != nil {
		return err
	}
	for _, why := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(std.out, "%d rejected: %s\n", total[why], why)
	}
	for _, file := range unread {
		fmt.Fprintf(std.out, "no reader knows %s\n", file)
	}
	return nil
}
