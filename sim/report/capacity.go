package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim/capacity"
)

// Capacity prints the answer to a capacity plan. start is the first day, "" if
// the plan names none.
func Capacity(w io.Writer, r *capacity.Result, start string, colour bool) error {
	p := &printer{w: w, colour: colour}
	name := clip(r.Name, Width)
	p.printf("%s\n%s\n\n", p.paint(text.Bold, name), strings.Repeat("─", len([]rune(name))))
	p.options(r)
	if r.Chosen < 0 {
		why := "no machine of the plan can run the job"
		if r.DeadlineDays > 0 {
			why += fmt.Sprintf(" within %.4g days", r.DeadlineDays)
		}
		p.para(p.paint(text.FgRed, why))
		p.printf("\n")
	} else {
		o := &r.Options[r.Chosen]
		p.chosen(r, o, start)
		p.losses(o)
		p.effects(r, o)
	}
	p.expectations(r.Expect)
	p.assumptions(r)
	return p.err
}

func rightFrom(first, last int) (out []table.ColumnConfig) {
	for n := first; n <= last; n++ {
		out = append(out, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	return out
}

// options is a row a machine; those that cannot run the job follow with why.
func (p *printer) options(r *capacity.Result) {
	var rows []table.Row
	for i, o := range r.Options {
		if o.Problem != "" {
			continue
		}
		mark := ""
		switch {
		case i == r.Chosen:
			mark = p.paint(text.FgGreen, "<- cheapest in time")
			if r.DeadlineDays == 0 || r.Tokens == 0 {
				mark = p.paint(text.FgGreen, "<- cheapest")
			}
		case !o.InTime:
			mark = p.paint(text.FgRed, "too late")
		}
		rows = append(rows, table.Row{clip(o.GPU, 14), o.GPUs, o.SpareNodes * o.GPUs / o.Nodes, seconds(o.StepTimeS), fmt.Sprintf("%.1f %%", 100*o.Goodput),
			fmt.Sprintf("%.1f", o.Days), dollars(o.CostUSD), mark})
	}
	if len(rows) > 0 {
		p.table(rightFrom(2, 7), table.Row{"gpu", "GPUs", "spare", "step", "goodput", "days", "cost", ""}, rows)
	}
	for _, o := range r.Options {
		if o.Problem != "" {
			p.para(fmt.Sprintf("not possible: %d x %s: %s", o.GPUs, o.GPU, o.Problem))
		}
	}
	if len(rows) < len(r.Options) {
		p.printf("\n")
	}
}

func (p *printer) chosen(r *capacity.Result, o *capacity.Option, start string) {
	s := o.Simulated
	row := func(k, v, note string) table.Row { return table.Row{k, v, note} }
	finish := fmt.Sprintf("simulated %.1f, 90 %% of %d runs in %.1f to %.1f", s.Days.Mean, s.Runs, s.Days.P5, s.Days.P95)
	rows := []table.Row{row("time", fmt.Sprintf("%.1f days", o.Days), finish)}
	if first, err := time.Parse(time.DateOnly, start); err == nil {
		last := func(days float64) string {
			return first.Add(time.Duration(days * 24 * float64(time.Hour))).Format(time.DateOnly)
		}
		rows = append(rows, row("done", last(o.Days), fmt.Sprintf("from %s; between %s and %s", start, last(s.Days.P5), last(s.Days.P95))))
	}
	if r.DeadlineDays > 0 && r.Tokens > 0 {
		rows = append(rows, row("deadline", fmt.Sprintf("%.4g days", r.DeadlineDays), fmt.Sprintf("%.1f %% of the simulated runs meet it", 100*s.InTime)))
	}
	k := o.Checkpoint
	write := fmt.Sprintf("%s each", seconds(k.BlockS))
	if k.WriteS > 0 {
		write = fmt.Sprintf("blocks for %s, safe %s later", seconds(k.BlockS), seconds(k.WriteS))
	}
	rows = append(rows,
		row("machine", fmt.Sprintf("%d x %s", o.GPUs, o.GPU), fmt.Sprintf("%d nodes and %d spare, dp %d, %d sequences a step", o.Nodes, o.SpareNodes, o.DP, o.GlobalBatch)),
		row("tokens", fmt.Sprintf("%.4g", o.Tokens), fmt.Sprintf("%d steps of %s ± %.0f %%", o.Steps, seconds(o.StepTimeS), 100*o.StepTimeRelError)),
		row("goodput", fmt.Sprintf("%.2f %%", 100*o.Goodput), fmt.Sprintf("simulated %.2f ± %.2f %%", 100*s.Goodput.Mean, 100*1.96*s.Goodput.StdErr)),
		row("interruptions", fmt.Sprintf("%.0f", o.Interruptions), interruptions(o)),
		row("checkpoint", fmt.Sprintf("%.4g GB", k.GB), write),
		row("every", fmt.Sprintf("%d steps", k.EverySteps), interval(k)),
		row("cost", dollars(o.CostUSD), fmt.Sprintf("%.3g GPU-hours, spares included", o.GPUHours)),
		row("energy", fmt.Sprintf("%.4g MWh", o.EnergyMWh), ""))
	p.table([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, WidthMax: 46, WidthMaxEnforcer: text.WrapSoft}}, nil, rows)
	p.para(fmt.Sprintf("The step time's own error moves days, cost and energy alike: ± %.0f %%.", 100*o.StepTimeRelError))
	p.printf("\n")
}

func interruptions(o *capacity.Option) string {
	if o.MTBFHours == 0 {
		return "nothing fails"
	}
	c := o.Causes
	return fmt.Sprintf("one in %.3g h: GPUs %.0f, nodes %.0f, network %.0f, software %.0f", o.MTBFHours, c.GPU, c.Node, c.Switch, c.Software)
}

func interval(k capacity.Checkpoint) string {
	s := seconds(k.EveryS)
	if k.ExactS > 0 {
		s += fmt.Sprintf("; optimum %s, by Daly %s, by Young %s", seconds(k.ExactS), seconds(k.DalyS), seconds(k.YoungS))
	}
	return s
}

func (p *printer) losses(o *capacity.Option) {
	var rows []table.Row
	for _, l := range []struct {
		name  string
		share float64
	}{{"useful steps", o.Goodput}, {"redone after failures", o.Loss.Redone}, {"restarting", o.Loss.Restart}, {"checkpoints", o.Loss.Checkpoint},
		{"stragglers", o.Loss.Straggler}, {"waiting for a node", o.Loss.Spare}} {
		if l.share > 5e-6 {
			rows = append(rows, table.Row{l.name, fmt.Sprintf("%.2f %%", 100*l.share), fmt.Sprintf("%.2f", l.share*o.Days),
				p.paint(text.FgCyan, strings.Repeat("█", int(l.share*24+0.5)))})
		}
	}
	p.table(rightFrom(2, 3), table.Row{"where the time goes", "share", "days", ""}, rows)
	p.para(fmt.Sprintf("Of each step the slowest of %d GPUs takes %s over the mean.", o.GPUs, seconds(o.SlowestRankS)))
	p.printf("\n")
}

func (p *printer) effects(r *capacity.Result, o *capacity.Option) {
	var rows []table.Row
	for _, e := range r.Sensitivity {
		step := ""
		if e.Step != 0 {
			step = fmt.Sprintf("%+.3f", e.Step)
		}
		rows = append(rows, table.Row{e.What, fmt.Sprintf("%.4g %s", e.Value, e.Unit), step, fmt.Sprintf("%+.4f", e.Days),
			fmt.Sprintf("%+.4f", e.Rerun), dollars(e.Days / 100 * o.CostUSD)})
	}
	p.table(rightFrom(3, 6), table.Row{"1 % more than", "", "step %", "days %", "by rerun", "cost"}, rows)
	p.para("step and days: derivatives, along the critical path and of the closed form; by rerun: a tenth of what 10 % more gave when all was run again.")
	p.printf("\n")
}

// assumptions names what the plan did not say, what has one source together.
func (p *printer) assumptions(r *capacity.Result) {
	var from, values string
	flush := func() {
		if values != "" {
			p.para(values + ": " + from)
		}
		values = ""
	}
	for _, a := range r.Assumptions {
		source, isDefault := strings.CutPrefix(a.From, "default, ")
		if !isDefault && !strings.HasPrefix(source, "published") {
			continue
		}
		if source != from {
			flush()
		}
		if from = source; values != "" {
			values += ", "
		}
		values += a.Key + " = " + a.Value
	}
	flush()
}

func dollars(x float64) string {
	sign, abs := "", x
	if x < 0 {
		sign, abs = "-", -x
	}
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if abs >= u.size {
			return fmt.Sprintf("%s$%.4g%s", sign, abs/u.size, u.name)
		}
	}
	return fmt.Sprintf("%s$%.2f", sign, abs)
}
