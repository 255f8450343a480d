package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/schedules/pipeline"
	"orrery/sim/report"
	"orrery/sim/unit"
)

// moduleRequest is a schedule of encoder, LLM and generator understood.
type moduleRequest struct {
	s       pipeline.Multimodal // made for m and the shape
	m       pipeline.Modules    // costs in whole units of time, 1/whole of those given
	whole   int64
	report  *modulesReport
	compare bool
}

// modulesReport is what a multimodal schedule's report has beside. Times are in the
// unit of the costs. Units are microbatches that a device holds of a module at most.
type modulesReport struct {
	Warmup    int         `json:"warmup,omitempty"`
	LLMOnly   float64     `json:"llm_only_makespan"`
	Unlimited *float64    `json:"unlimited_memory_makespan,omitempty"`
	Encoder   int         `json:"live_encoder_units"`
	Generator int         `json:"live_generator_units"`
	Compared  []systemRow `json:"compared,omitempty"`

	live [][3]pipeline.Live // by device and module
}

// systemRow is a system that the schedule is compared with.
type systemRow struct {
	System    string  `json:"system"`
	Schedule  string  `json:"schedule"`
	Makespan  float64 `json:"makespan"`
	Bubble    float64 `json:"bubble_fraction"`
	Encoder   int     `json:"live_encoder_units"`
	Generator int     `json:"live_generator_units"`
}

// moduleSchedules are the names of multimodal schedules.
func moduleSchedules() []string {
	var out []string
	for _, s := range pipeline.All() {
		if _, ok := s.(pipeline.Multimodal); ok {
			out = append(out, s.Name())
		}
	}
	return out
}

// readModules understands the costs and parameters of a multimodal schedule.
func (q *scheduleRequest) readModules(c *scheduleCmd, s pipeline.Multimodal, params map[string]string) error {
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"slices", c.Slices != 1}, {"attention", c.Attention != ""}, {"stage-factors", len(c.StageFactors) > 0}, {"blocking", c.Blocking}, {"memory-limit", c.MemoryLimit != 0},
	} {
		if flag.set {
			return fmt.Errorf("--%s: not known of passes of several modules; schedule %s takes --stages, --virtual, --microbatches, --cost, --comm, --encoder, --generator, --warmup", flag.name, q.name)
		}
	}
	m, err := q.moduleParams(c, params)
	if err != nil {
		return err
	}
	m.Costs, q.scale, err = moduleCosts(c)
	if err != nil {
		return err
	}
	if params["recompute"] != "" {
		m.Costs = m.Costs.Recomputed()
	}
	if params["encoder"] == "auto" {
		if m, err = pipeline.DistTrainSplit(m, q.shape); err != nil {
			return err
		}
		q.notes = append(q.notes, fmt.Sprintf("Of %d devices %d hold the encoder and %d the generator.", q.shape.Devices, m.EncoderDevices, m.GeneratorDevices))
	}
	q.modules = &moduleRequest{s: s.With(m), m: m, whole: q.scale, compare: q.name == "bigmac"}
	q.order, q.alien = q.modules.s, "no modules"
	if err := q.order.Check(q.shape); err != nil {
		return fmt.Errorf("schedule %s: %w", q.name, err)
	}
	q.run = func() (*pipeline.Timing, error) {
		made, t, scale, err := q.modules.time(q.modules.s, q.modules.m, q.shape)
		if err != nil {
			return nil, err
		}
		q.scale, q.order, q.modules.s = scale, made, made
		q.modules.report, err = q.modules.describe(q, t)
		return t, err
	}
	return nil
}

// moduleParams is what is said of modules but their costs.
func (q *scheduleRequest) moduleParams(c *scheduleCmd, params map[string]string) (m pipeline.Modules, err error) {
	m = pipeline.Modules{Encoder: c.Encoder != "", Generator: c.Generator != "", Warmup: c.Warmup}
	if !m.Encoder && !m.Generator {
		return m, fmt.Errorf("schedule %s needs --encoder F,B or --generator F,B, the times of a module over one microbatch", q.name)
	}
	switch {
	case c.Warmup != 0 && q.name != "bigmac":
		return m, fmt.Errorf("--warmup: %s has no warm-up of units; bigmac has", q.name)
	case c.Warmup < 0:
		return m, fmt.Errorf("--warmup is %d, must be 1 or more units", c.Warmup)
	case params["recompute"] != "" && params["recompute"] != "encoder":
		return m, fmt.Errorf("--param recompute is %q, must be encoder", params["recompute"])
	}
	if m.Pieces, err = whole(params, "pieces"); err != nil {
		return m, err
	}
	if params["encoder"] != "auto" {
		if m.EncoderDevices, err = whole(params, "encoder"); err != nil {
			return m, err
		}
	} else if params["generator"] != "" {
		return m, fmt.Errorf("--param encoder=auto divides all devices: leave --param generator out")
	}
	m.GeneratorDevices, err = whole(params, "generator")
	return m, err
}

// moduleCosts reads the costs in decimals, in 1/scale of their unit.
func moduleCosts(c *scheduleCmd) (costs pipeline.ModuleCosts, scale int64, err error) {
	lists := [][]string{strings.Split(c.Cost, ","), {"0", "0"}, {"0", "0"}, {c.Comm}}
	if len(lists[0]) != 2 && len(lists[0]) != 3 {
		return costs, 0, fmt.Errorf("--cost is %q, want F,B or F,B,W of a chunk of the LLM", c.Cost)
	}
	for i, flag := range []struct{ name, text string }{{"encoder", c.Encoder}, {"generator", c.Generator}} {
		if flag.text == "" {
			continue
		}
		if lists[i+1] = strings.Split(flag.text, ","); len(lists[i+1]) != 2 {
			return costs, 0, fmt.Errorf("--%s is %q, want two numbers F,B", flag.name, flag.text)
		}
	}
	decimals := 0
	values := make([][]float64, len(lists))
	for i, list := range lists {
		for _, text := range list {
			x, places, err := decimal(strings.TrimSpace(text))
			if err != nil {
				return costs, 0, err
			}
			values[i], decimals = append(values[i], x), max(decimals, places)
		}
	}
	scale = int64(math.Pow10(decimals))
	at := func(x float64) unit.Time { return unit.Time(math.Round(x * float64(scale))) }
	costs = pipeline.ModuleCosts{F: at(values[0][0]), EncoderF: at(values[1][0]), EncoderB: at(values[1][1]),
		GeneratorF: at(values[2][0]), GeneratorB: at(values[2][1]), Comm: at(values[3][0])}
	for _, x := range values[0][1:] { // a fused backward
		costs.B += at(x)
	}
	return costs, scale, nil
}

// decimal reads a cost and counts its decimals.
func decimal(text string) (x float64, places int, err error) {
	x, err = strconv.ParseFloat(text, 64)
	if err != nil || x < 0 || x > 1e9 || math.IsNaN(x) || strings.ContainsAny(text, "eExXpP_") {
		return 0, 0, fmt.Errorf("a cost is %q, must be a number of 0 to 1e9 such as 1.25", text)
	}
	if _, fraction, ok := strings.Cut(text, "."); ok {
		places = len(fraction)
	}
	if places > 6 {
		return 0, 0, fmt.Errorf("a cost has %d decimals, at most 6 are kept", places)
	}
	return x, places, nil
}

// time makes a schedule for costs that its stages divide and runs it; scale is the
// units of time in a unit of the costs.
func (r *moduleRequest) time(s pipeline.Multimodal, m pipeline.Modules, shape pipeline.Shape) (made pipeline.Multimodal, t *pipeline.Timing, scale int64, err error) {
	if made = s.With(m); made.Check(shape) != nil {
		return made, nil, 0, made.Check(shape)
	}
	by := pipeline.Divisor(made, shape)
	if m.Costs, err = m.Costs.Scaled(by); err != nil {
		return made, nil, 0, err
	}
	made = s.With(m)
	costs, err := m.Costs.Costs(made, shape)
	if err != nil {
		return made, nil, 0, err
	}
	t, err = pipeline.Simulate(made, shape, costs)
	return made, t, r.whole * by, err
}

// describe reports a run beside the LLM alone and unlimited memory.
func (r *moduleRequest) describe(q *scheduleRequest, t *pipeline.Timing) (*modulesReport, error) {
	live := pipeline.LiveOf(r.s, q.shape, t)
	out := &modulesReport{Encoder: pipeline.LiveUnits(live, pipeline.Encoder), Generator: pipeline.LiveUnits(live, pipeline.Generator), live: live}
	alone, err := pipeline.LLMAlone(q.shape, r.m.Costs)
	if err != nil {
		return nil, err
	}
	out.LLMOnly = float64(alone.Makespan) / float64(r.whole)
	if row, err := r.system("unlimited memory", "encoder_first", r.m, q.shape); err == nil {
		out.Unlimited = &row.Makespan
	}
	if !r.compare {
		return out, nil
	}
	if out.Warmup = r.m.Warmup; out.Warmup == 0 && r.m.Encoder {
		out.Warmup = pipeline.NestedWarmup
	}
	return out, r.others(q, out)
}

// others adds the systems that bigmac is compared with.
func (r *moduleRequest) others(q *scheduleRequest, out *modulesReport) error {
	again, stages, flat := r.m, r.m, q.shape
	again.Costs = r.m.Costs.Recomputed()
	flat.Virtual = 1 // of the same LLM
	stages.Costs.F *= unit.Time(q.shape.Virtual)
	stages.Costs.B *= unit.Time(q.shape.Virtual)
	split, splitErr := pipeline.DistTrainSplit(stages, flat)
	for _, s := range []struct {
		system, schedule string
		m                pipeline.Modules
		shape            pipeline.Shape
		recomputed       bool
		err              error
	}{
		{system: "BigMac", schedule: "bigmac", m: r.m, shape: q.shape},
		{system: "unlimited memory", schedule: "encoder_first", m: r.m, shape: q.shape},
		{system: "encoder recomputed", schedule: "encoder_first", m: again, shape: q.shape, recomputed: true},
		{system: "Optimus", schedule: "optimus", m: r.m, shape: q.shape},
		{system: "Megatron", schedule: "encoder_stages", m: stages, shape: flat},
		{system: "DistTrain", schedule: "encoder_stages", m: split, shape: flat, err: splitErr},
		{system: "DIP's segments", schedule: "encoder_segments", m: r.m, shape: q.shape},
	} {
		row, err := r.system(s.system, s.schedule, s.m, s.shape)
		if s.recomputed {
			row.Encoder = min(row.Encoder, 1) // while its backward runs; between the passes an input is kept
		}
		if err = errors.Join(s.err, err); err != nil {
			q.notes = append(q.notes, fmt.Sprintf("%s is left out: %v.", s.system, err))
			continue
		}
		out.Compared = append(out.Compared, row)
	}
	return nil
}

// system times a schedule under a name.
func (r *moduleRequest) system(system, schedule string, m pipeline.Modules, shape pipeline.Shape) (systemRow, error) {
	found, err := pipeline.Lookup(schedule)
	if err != nil {
		return systemRow{}, err
	}
	s, ok := found.(pipeline.Multimodal)
	if !ok {
		return systemRow{}, fmt.Errorf("%s has no modules", schedule)
	}
	made, t, scale, err := r.time(s, m, shape)
	if err != nil {
		return systemRow{}, err
	}
	live := pipeline.LiveOf(made, shape, t)
	return systemRow{System: system, Schedule: schedule, Makespan: float64(t.Makespan) / float64(scale), Bubble: t.Bubble(),
		Encoder: pipeline.LiveUnits(live, pipeline.Encoder), Generator: pipeline.LiveUnits(live, pipeline.Generator)}, nil
}

// names is the order of each device in words.
func (r *moduleRequest) names(shape pipeline.Shape, t *pipeline.Timing) []string {
	out := make([]string, len(t.Order))
	for d, slots := range t.Order {
		names := make([]string, len(slots))
		for i, s := range slots {
			names[i] = pipeline.Name(r.s, shape, s)
		}
		out[d] = strings.Join(names, ",")
	}
	return out
}

// shade tells the LLM's chunks of a device apart.
func (r *moduleRequest) shade(shape pipeline.Shape, s pipeline.Slot) int {
	if pipeline.ModuleOf(r.s, shape, int(s.Stage)) != pipeline.LLM {
		return 0
	}
	return (int(s.Stage) - r.s.ModuleStages(shape)[pipeline.Encoder]) / shape.Devices
}

// rows are the report's own rows; none of an LLM alone.
func (r *scheduleReport) rows() []table.Row {
	m := r.modulesReport
	if m == nil {
		return nil
	}
	out := []table.Row{{"LLM alone", fmt.Sprintf("%g", m.LLMOnly)}}
	if m.Unlimited != nil {
		out = append(out, table.Row{"with unlimited memory", fmt.Sprintf("%g", *m.Unlimited)})
	}
	return append(out, table.Row{"encoder units held", m.Encoder}, table.Row{"generator units held", m.Generator})
}

// printDevices prints what each device does and holds: chunks of the LLM, passes of
// the other modules' stages.
func (m *modulesReport) printDevices(std *streams, q *scheduleRequest, t *pipeline.Timing, order []string) error {
	var rows []table.Row
	for d, live := range m.live {
		rows = append(rows, table.Row{d, fmt.Sprintf("%g", q.units(t.Busy[d])), fmt.Sprintf("%g", q.units(t.Span[d])),
			live[pipeline.LLM].Peak, live[pipeline.Encoder].Peak, live[pipeline.Generator].Peak, strings.ReplaceAll(order[d], ",", " ")})
	}
	return report.Table(std.out, table.Row{"device", "busy", "span", "chunks", "enc", "gen", "order"}, rows)
}

// compared prints the systems beside each other.
func (r *scheduleReport) compared(std *streams) error {
	if r.modulesReport == nil || len(r.Compared) == 0 {
		return nil
	}
	var rows []table.Row
	for _, s := range r.Compared {
		rows = append(rows, table.Row{s.System, s.Schedule, fmt.Sprintf("%.7g", s.Makespan), fmt.Sprintf("%.3f", s.Makespan/r.Makespan), fmt.Sprintf("%.1f %%", 100*s.Bubble), s.Encoder, s.Generator})
	}
	return report.Table(std.out, table.Row{"system", "schedule", "makespan", "of " + r.Schedule, "bubble", "enc", "gen"}, rows)
}
