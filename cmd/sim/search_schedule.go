package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/schedules/pipeline/ordersearch"
	"orrery/sim"
	"orrery/sim/report"
	"orrery/sim/unit"
)

// scheduleSearch is `sim search --schedule`: the shortest pipeline order that can be
// found under costs that are given, next to the named schedules.
type scheduleSearch struct {
	Stages       int      `help:"Devices of the pipeline, p."`
	Microbatches int      `help:"Microbatches, m."`
	Virtual      int      `help:"Model chunks a device, v; 1 where absent."`
	Slices       int      `help:"Slices a microbatch, n; 1 where absent."`
	Placement    string   `help:"Which device holds a stage: looped (stage mod p; where absent), v (two chunks, down and up again), wave (down and up again and again)."`
	Cost         string   `help:"Time F,B,W of a pass, as of sim schedule: of one chunk and slice; 1,1,1 where absent. Or one F,B,W for each stage, with / between them."`
	Comm         string   `help:"Time of a transfer between two devices; 0 where absent."`
	Attention    string   `help:"Time F,B,W of causal attention in the mean pass, on top of the cost: it grows with the slice."`
	StageFactors []string `name:"stage-factors" sep:"," help:"Factors on the cost, one a stage (p x v)."`
	Whole        bool     `help:"Keep backward passes whole; else each is split and its weight gradient may be put off."`
	MemoryLimit  float64  `name:"memory-limit" help:"Most activations that a device may hold (of one chunk and slice); 0 is no limit."`
	Seed         uint64   `default:"1" help:"Seed of the search."`
	CSV          string   `name:"csv" placeholder:"FILE" help:"Write the order in PyTorch's pipeline grammar, which schedule file and scenarios read."`
	LP           string   `name:"lp" placeholder:"FILE" help:"Write the problem as an integer program in CPLEX's LP format, for a solver."`
	SVG          string   `name:"svg" placeholder:"FILE" help:"Draw a picture."`
	Gantt        bool     `help:"Draw the passes in the terminal."`
}

// searchReport is what `sim search --schedule --json` prints: the order that was
// found, as `sim schedule --json` has it, and what it is compared with. Times are in
// the unit of the costs.
type searchReport struct {
	*scheduleReport
	Placement   string     `json:"placement"`
	Whole       bool       `json:"whole_backward"`
	MemoryLimit int        `json:"memory_limit"` // activations; 0 is none
	Waits       [3]float64 `json:"mean_waits"`   // of the devices: before, between and behind their passes
	LowerBound  float64    `json:"lower_bound"`
	BoundFrom   string     `json:"lower_bound_from"`
	Gap         float64    `json:"gap"`       // of the makespan over the bound, relative
	GrewFrom    string     `json:"grew_from"` // a named schedule, or list scheduling
	Seed        uint64     `json:"seed"`
	Steps       int64      `json:"steps"`
	Moves       int64      `json:"moves_weighed"`
	Compared    []namedRow `json:"schedules"` // by makespan
	LeftOut     []leftOut  `json:"left_out,omitempty"`
}

// namedRow is a named schedule beside the order that was found.
type namedRow struct {
	Schedule string     `json:"schedule"`
	Makespan float64    `json:"makespan"`
	Over     float64    `json:"over_found"` // relative
	Bubble   float64    `json:"bubble_fraction"`
	Peak     int        `json:"peak_activations"`
	Fits     bool       `json:"fits"`
	Waits    [3]float64 `json:"mean_waits"`
}

// maxSteps is more than a day's.
const maxSteps = 1_000_000_000

// order searches; sc has the scenario and what else both searches take.
func (c *scheduleSearch) order(ctx context.Context, std *streams, sc *searchCmd) error {
	q, problem, err := c.problem(ctx, sc.File, sc.Set)
	if err != nil {
		return badInput(err)
	}
	opt, err := c.limits(sc.Budget, sc.Workers)
	if err != nil {
		return badInput(err)
	}
	found, err := ordersearch.Search(ctx, problem, opt)
	if err != nil {
		return badInput(fmt.Errorf("search --schedule: %w", err))
	}
	q.order = found.Found
	if err := c.write(q, problem, found); err != nil {
		return badInput(err)
	}
	r, err := c.report(q, problem, found)
	if err != nil {
		return badInput(err)
	}
	if sc.JSON {
		return writeJSON(std.out, r)
	}
	return r.print(std, q, found, c.Gantt)
}

// problem is what is searched for, and the request that prints it.
func (c *scheduleSearch) problem(ctx context.Context, file string, sets []string) (*scheduleRequest, ordersearch.Problem, error) {
	q := &scheduleRequest{name: "found"}
	p := ordersearch.Problem{Fused: c.Whole, Limit: int(c.MemoryLimit)}
	if !(c.MemoryLimit >= 0 && c.MemoryLimit <= ordersearch.MaxPasses) {
		return nil, p, fmt.Errorf("--memory-limit is %g, must be 0 (none) to %d activations", c.MemoryLimit, ordersearch.MaxPasses)
	}
	if file != "" {
		err := c.scenario(ctx, file, sets, q, &p)
		return q, p, err
	}
	if len(sets) > 0 {
		return nil, p, fmt.Errorf("--set changes a key of a scenario, and none is given")
	}
	q.shape = pipeline.Shape{Devices: c.Stages, Virtual: cmp.Or(c.Virtual, 1), Microbatches: c.Microbatches, Slices: cmp.Or(c.Slices, 1)}
	if s := q.shape; s.Devices < 1 || s.Microbatches < 1 || s.Virtual < 1 || s.Slices < 1 {
		return nil, p, fmt.Errorf("--stages is %d, --microbatches %d, --virtual %d, --slices %d: all must be 1 or more", c.Stages, c.Microbatches, s.Virtual, s.Slices)
	}
	p.Shape, p.Placement = q.shape, ordersearch.Looped
	var err error
	if c.Placement != "" {
		if p.Placement, err = ordersearch.ParsePlacement(c.Placement); err != nil {
			return nil, p, fmt.Errorf("--placement: %w", err)
		}
	}
	if err := p.Check(); err != nil {
		return nil, p, fmt.Errorf("search --schedule: %w", err)
	}
	err = q.price(&scheduleCmd{Cost: cmp.Or(c.Cost, "1,1,1"), Comm: cmp.Or(c.Comm, "0"), Attention: c.Attention, StageFactors: c.StageFactors}, nil)
	p.Costs = q.costs
	return q, p, err
}

// scenario is problem with the sizes and costs of a scenario's run.
func (c *scheduleSearch) scenario(ctx context.Context, file string, sets []string, q *scheduleRequest, p *ordersearch.Problem) error {
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"stages", c.Stages != 0}, {"microbatches", c.Microbatches != 0}, {"virtual", c.Virtual != 0}, {"slices", c.Slices != 0}, {"placement", c.Placement != ""},
		{"cost", c.Cost != ""}, {"comm", c.Comm != ""}, {"attention", c.Attention != ""}, {"stage-factors", len(c.StageFactors) > 0},
	} {
		if flag.set {
			return fmt.Errorf("--%s: the scenario says it; --set changes a key of that", flag.name)
		}
	}
	res, err := scenarios.Load(file, sets)
	if err != nil {
		return err
	}
	run, err := sim.Simulate(ctx, &res.Scenario, sim.Options{NoAdvice: true})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	name, place := run.Scenario.Schedule.Name, func(q ordersearch.Placement) bool {
		return q.Holds(run.Plan.Schedule, run.Plan.Shape)
	}
	if _, nested := run.Plan.Schedule.(pipeline.Multimodal); nested || pipeline.Replicas(run.Plan.Schedule) > 1 {
		return fmt.Errorf("%s: orders are searched for an LLM alone whose stages are held once; schedule %s is another kind", file, name)
	}
	all := ordersearch.Placements()
	at := slices.IndexFunc(all, place)
	if at < 0 {
		return fmt.Errorf("%s: schedule %s places stages in none of the ways that are searched", file, name)
	}
	stages, send, split := run.StageCosts()
	q.shape = run.Plan.Shape
	q.shape.Group, q.shape.Slices = 0, max(q.shape.Slices, 1)
	q.scale = int64(unit.Seconds(1e-3))
	q.costs = pipeline.ByStage(stages, send)
	q.notes = append(q.notes, fmt.Sprintf("Times are in ms: the mean passes of each stage and the mean send of %s with schedule %s.", file, name))
	if !split && !p.Fused {
		return fmt.Errorf("%s: schedule %s does not split backward passes, so that it does not say what their halves take: --whole keeps them whole, --set schedule.name=zb_h1 or zbv splits them", file, name)
	}
	p.Shape, p.Placement, p.Costs = q.shape, all[at], q.costs
	return nil
}

func (c *scheduleSearch) limits(budget string, workers int) (ordersearch.Options, error) {
	opt := ordersearch.Options{Seed: c.Seed, Threads: workers}
	if workers < 0 {
		return opt, fmt.Errorf("--workers is %d, must be 0 or more", workers)
	}
	budget = cmp.Or(budget, "40000")
	if steps, err := strconv.Atoi(budget); err == nil {
		if steps < 0 || steps > maxSteps {
			return opt, fmt.Errorf("--budget is %d, must be 0 to %d steps, or a time", steps, maxSteps)
		}
		opt.Steps = steps
		return opt, nil
	}
	limit, err := time.ParseDuration(budget)
	if err != nil || limit <= 0 {
		return opt, fmt.Errorf("--budget is %q, must be a number of steps such as 40000 or a time such as 30s", budget)
	}
	stop := make(chan struct{})
	time.AfterFunc(limit, func() { close(stop) })
	opt.Steps, opt.Stop = maxSteps, stop
	return opt, nil
}

// write makes the files that are asked for.
func (c *scheduleSearch) write(q *scheduleRequest, p ordersearch.Problem, found *ordersearch.Result) error {
	t := found.Timing
	for _, file := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{c.CSV, func(w io.Writer) error {
			_, err := io.WriteString(w, pipeline.FormatOrder(pipeline.Cells(t.Order, q.shape.Slices > 1)))
			return err
		}},
		{c.LP, func(w io.Writer) error { return ordersearch.WriteLP(w, p, t.Makespan) }},
		{c.SVG, func(w io.Writer) error { return report.SVGGantt(w, q.gantt(t)) }},
	} {
		if file.path == "" {
			continue
		}
		if err := writeFile(file.path, file.write); err != nil {
			return fmt.Errorf("%s: %w", file.path, err)
		}
	}
	return nil
}

// waits is how long the mean device waits before its first pass, between its passes
// and behind its last.
func (q *scheduleRequest) waits(t *pipeline.Timing) (w [3]float64) {
	n := float64(len(t.Order))
	for d, busy := range t.Busy {
		first := t.Start[d][0]
		w[0] += q.units(first) / n
		w[1] += q.units(t.Span[d]-busy) / n
		w[2] += q.units(t.Makespan-first-t.Span[d]) / n
	}
	return w
}

// pairsNote says what a schedule's overlapped pairs, which are timed without what they
// gain, would have to gain.
func pairsNote(problem ordersearch.Problem, n ordersearch.Named, found *ordersearch.Result) (string, error) {
	share, ok, err := ordersearch.PairsWorth(problem, n, found.Timing.Makespan)
	if err != nil {
		return "", err
	}
	worth := "However short they were, it would not be as fast as the order found."
	if ok {
		worth = fmt.Sprintf("It would be as fast as the order found if they took %.1f %% less.", 100*share)
	}
	return fmt.Sprintf("%s is timed without what its overlapped pairs gain on a GPU: one pass after the other, each as soon as it can. %s", n.Name, worth), nil
}

func (c *scheduleSearch) report(q *scheduleRequest, problem ordersearch.Problem, found *ordersearch.Result) (*searchReport, error) {
	r := &searchReport{scheduleReport: q.report(found.Timing), Placement: string(problem.Placement), Whole: c.Whole, MemoryLimit: int(c.MemoryLimit),
		Waits: q.waits(found.Timing), LowerBound: q.units(found.Bound.Time), BoundFrom: found.Bound.Why, Gap: found.Gap(),
		GrewFrom: found.Start, Seed: c.Seed, Steps: found.Steps, Moves: found.Judged}
	for _, n := range found.Named {
		if n.Problem != "" {
			r.LeftOut = append(r.LeftOut, leftOut{n.Name, n.Problem})
			continue
		}
		if n.Pairs != nil {
			note, err := pairsNote(problem, n, found)
			if err != nil {
				return nil, err
			}
			r.Notes = append(r.Notes, note)
		}
		r.Compared = append(r.Compared, namedRow{n.Name, q.units(n.Timing.Makespan), float64(n.Timing.Makespan)/float64(found.Timing.Makespan) - 1,
			n.Timing.Bubble(), n.Peak(), n.Fits, q.waits(n.Timing)})
	}
	slices.SortStableFunc(r.Compared, func(a, b namedRow) int { return cmp.Compare(a.Makespan, b.Makespan) })
	return r, nil
}

func (r *searchReport) print(std *streams, q *scheduleRequest, found *ordersearch.Result, gantt bool) error {
	if _, err := fmt.Fprintln(std.out, q.title()); err != nil {
		return err
	}
	limit := "none"
	if r.MemoryLimit > 0 {
		limit = fmt.Sprintf("%d activations a device", r.MemoryLimit)
	}
	gap := fmt.Sprintf("%.3f %%", 100*r.Gap)
	if r.Gap == 0 {
		gap = "none: no order is shorter"
	}
	rows := []table.Row{
		{"placement", r.Placement},
		{"memory limit", limit},
		{"makespan", fmt.Sprintf("%.7g", r.Makespan)},
		{"lower bound", fmt.Sprintf("%.7g", r.LowerBound)},
		{"gap", gap},
		{"bubble", fmt.Sprintf("%.4f %%", 100*r.Bubble)},
		{"grew from", r.GrewFrom},
		{"steps", fmt.Sprintf("%d, %d moves weighed", r.Steps, r.Moves)},
	}
	if err := report.Table(std.out, table.Row{"", ""}, rows); err != nil {
		return err
	}
	if err := r.printCompared(std); err != nil {
		return err
	}
	if gantt {
		if err := report.TextGantt(std.out, q.gantt(found.Timing), std.colour); err != nil {
			return err
		}
	}
	for _, note := range append([]string{"The bound is from " + r.BoundFrom + ". " + searchLegend}, r.Notes...) {
		if err := report.Para(std.out, note); err != nil {
			return err
		}
	}
	return nil
}

const searchLegend = "over: over the order found; peak: most activations that a device holds; " +
	"lead, gaps, tail: what the mean device waits before its first pass, between its passes and behind its last."

func (r *searchReport) printCompared(std *streams) error {
	row := func(name string, makespan float64, over string, bubble float64, peak string, waits [3]float64) table.Row {
		return table.Row{name, fmt.Sprintf("%.7g", makespan), over, fmt.Sprintf("%.1f %%", 100*bubble), peak,
			fmt.Sprintf("%.4g", waits[0]), fmt.Sprintf("%.4g", waits[1]), fmt.Sprintf("%.4g", waits[2])}
	}
	rows := []table.Row{row("found", r.Makespan, "", r.Bubble, fmt.Sprint(slices.Max(r.Peak)), r.Waits)}
	for _, n := range r.Compared {
		peak := fmt.Sprint(n.Peak)
		if !n.Fits {
			peak += " !"
		}
		rows = append(rows, row(n.Schedule, n.Makespan, fmt.Sprintf("%+.2f %%", 100*n.Over), n.Bubble, peak, n.Waits))
	}
	if err := report.Table(std.out, table.Row{"order", "makespan", "over", "bubble", "peak", "lead", "gaps", "tail"}, rows); err != nil {
		return err
	}
	if slices.ContainsFunc(r.Compared, func(n namedRow) bool { return !n.Fits }) {
		return report.Para(std.out, "! holds more than the limit.")
	}
	return nil
}
