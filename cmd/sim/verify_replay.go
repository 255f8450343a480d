package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/calibrate"
	"orrery/kernels/sample"
	"orrery/sim/replay"
	"orrery/sim/report"
)

// replay holds a replayed stage against its export.
func (c *verifyCmd) replay(ctx context.Context, std *streams) error {
	if c.Runs != "" || len(c.Filter) > 0 || c.Explain {
		return badInput(fmt.Errorf("--replay stands alone: no --runs, --filter or --explain beside it"))
	}
	if !(c.MaxError >= 0) {
		return badInput(fmt.Errorf("--max-error is %g, want a share of 0 or more, as 0.1", c.MaxError))
	}
	f, err := os.Open(c.Replay)
	if err != nil {
		return badInput(err)
	}
	defer f.Close()
	res, err := replay.ReadResult(f)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.Replay, err))
	}
	e, err := c.exported(ctx, res)
	if err != nil {
		return badInput(err)
	}
	cmp, err := replay.Compare(e, res)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w", c.Replay, err))
	}
	if c.JSON {
		err = writeJSON(std.out, cmp)
	} else {
		err = writeComparison(std.out, cmp)
	}
	if err != nil {
		return err
	}
	if what, worst := cmp.MaxError(); c.MaxError > 0 && worst > c.MaxError {
		return checkFailed(fmt.Errorf("%s is off by %.1f %%, more than %.1f %%", what, 100*worst, 100*c.MaxError))
	}
	return nil
}

// exported is the export of --export, or the project's case that the result is of.
func (c *verifyCmd) exported(ctx context.Context, res *replay.Result) (*replay.Export, error) {
	if c.Export != "" {
		f, err := os.Open(c.Export)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		e, err := replay.ReadExport(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Export, err)
		}
		return e, nil
	}
	sets := measuredOn(res)
	for _, k := range replay.Cases {
		e, err := exportCase(ctx, k, sets)
		if err != nil {
			return nil, err
		}
		if e.Digest == res.ExportDigest {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%s: of export %.12s…, which is no case of `sim export replay --all` as it is today; give --export FILE.json", c.Replay, res.ExportDigest)
}

// measuredOn sets what a result was measured with: its GPU, where it has a profile,
// and FlashAttention-2, where PyTorch picked that.
func measuredOn(res *replay.Result) []string {
	var sets []string
	if gpu := calibrate.ProfileOf(sample.Header{GPU: res.GPU}); gpu != "" {
		sets = append(sets, "cluster.gpu="+gpu)
	}
	if res.Backends["attention"] == "aten flash attention" {
		sets = append(sets, "framework.flash_attention_2=true")
	}
	return sets
}

func writeComparison(w io.Writer, c *replay.Comparison) error {
	fmt.Fprintf(w, "%s, replayed on %s, %s\n\n", c.Name, c.GPU, c.Date)
	pct := func(x float64) string { return fmt.Sprintf("%+.1f %%", 100*x) }
	num := func(x float64) string { return fmt.Sprintf("%.4g", x) }
	for _, t := range []struct {
		head   string
		groups []replay.Group
	}{{"op", c.ByName}, {"kind", c.ByKind}} {
		var rows []table.Row
		for _, g := range t.groups {
			rows = append(rows, table.Row{g.What, num(g.Predicted), num(g.Measured), pct(g.Error), fmt.Sprintf("%.1f %%", 100*g.RelError), fmt.Sprintf("%d of %d", g.InBar, g.Ops)})
		}
		if err := report.Table(w, table.Row{t.head, "predicted us", "measured us", "error", "bar", "inside"}, rows); err != nil {
			return err
		}
	}
	inside := func(r replay.Row) string {
		if r.Inside {
			return "yes"
		}
		return "no"
	}
	var rows []table.Row
	for _, p := range c.Passes {
		rows = append(rows, table.Row{p.What, num(p.Predicted), num(p.Measured), pct(p.Error), num(p.GapUS), inside(p.Row)})
	}
	if err := report.Table(w, table.Row{"pass", "predicted us", "measured us", "error", "gap us", "inside"}, rows); err != nil {
		return err
	}
	gib := func(x float64) string { return fmt.Sprintf("%.3f GiB", x/(1<<30)) }
	rows = []table.Row{
		{"step", num(c.Step.Predicted) + " us", num(c.Step.Measured) + " us", pct(c.Step.Error), inside(c.Step)},
		{"peak memory", gib(c.Peak.Predicted), gib(c.Peak.Measured), pct(c.Peak.Error), "no bar"},
		{"held memory", gib(c.Held.Predicted), gib(c.Held.Measured), pct(c.Held.Error), "no bar"},
	}
	return report.Table(w, table.Row{"", "predicted", "measured", "error", "inside"}, rows)
}
