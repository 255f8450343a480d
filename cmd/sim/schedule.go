package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/schedules/pipeline"
	"orrery/sim/report"
	"orrery/sim/unit"
)

// scheduleCmd is `sim schedule`: one pipeline schedule, its order and how it
// runs under costs that are given, not priced.
type scheduleCmd struct {
	Name         string   `arg:"" help:"A schedule of sim list schedules, or pipedream_2bw, vocab_1f1b, zb_auto, zbv_auto, file (an order in PyTorch's pipeline grammar), or all to compare them."`
	Stages       int      `help:"Devices of the pipeline, p."`
	Microbatches int      `help:"Microbatches, m."`
	Virtual      int      `help:"Model chunks a device, v; the schedule's least where absent."`
	Slices       int      `help:"Slices a microbatch, n." default:"1"`
	Cost         string   `default:"1,1,1" help:"Time of a forward pass, of a backward for inputs, of one for weights (F,B,W), of one chunk and slice; a fused backward takes B+W. Or one F,B,W for each stage, with / between them."`
	Comm         string   `default:"0" help:"Time of a transfer between two devices."`
	Attention    string   `help:"Time F,B,W of causal attention in the mean pass, on top of the cost: it grows with the slice."`
	StageFactors []string `name:"stage-factors" sep:"," help:"Factors on the cost, one a stage (p x v)."`
	MemoryLimit  float64  `name:"memory-limit" help:"Most activations that a device may hold (of one chunk and slice); 0 is no limit."`
	Param        []string `sep:"none" placeholder:"KEY=VALUE" help:"A parameter of the schedule; a wrong key lists them all."`
	Blocking     bool     `help:"Transfers block both ends: 1f1b as Megatron-LM has it, dualpipe and dualpipev as their code; for others one batch before each pass."`
	Lower        []string `placeholder:"PASS" help:"Write to --csv and --json what PyTorch's passes make of the order: merge_bw, unshard_reshard, reduce_grad, send_recv, defer_recv."`
	Encoder      string   `placeholder:"F,B" help:"With bigmac and the like: time of the whole encoder, forward and backward, over one microbatch."`
	Generator    string   `placeholder:"F,B" help:"The same of the generator behind the LLM."`
	Warmup       int      `help:"With bigmac, units of encoder forwards before the LLM starts; 3 where absent."`
	JSON         bool     `name:"json" help:"Print one JSON document and nothing else."`
	Markdown     bool     `help:"With all, print a table for a page."`
	CSV          string   `name:"csv" placeholder:"FILE" help:"Write the order in PyTorch's pipeline grammar."`
	SVG          string   `name:"svg" placeholder:"FILE" help:"Draw a picture."`
	Gantt        bool     `help:"Draw the passes in the terminal."`
}

// scheduleReport is what `sim schedule --json` prints; times are in the unit of
// the costs.
type scheduleReport struct {
	Schedule      string  `json:"schedule"`
	Stages        int     `json:"stages"`
	Virtual       int     `json:"virtual"`
	Microbatches  int     `json:"microbatches"`
	Slices        int     `json:"slices"`
	Makespan      float64 `json:"makespan"`
	MaxDeviceSpan float64 `json:"max_device_span"`
	IdealBusy     float64 `json:"ideal_busy"` // of the busiest device
	Bubble        float64 `json:"bubble_fraction"`
	// Peaks per device: activations of one chunk and slice, held to the end of
	// the backward pass; or only of the one for inputs.
	Peak          []int    `json:"peak_activations_per_stage"`
	PeakInputOnly []int    `json:"peak_if_freed_after_B"`
	Notes         []string `json:"notes,omitempty"`
	Order         []string `json:"order"` // a row a device, in PyTorch's grammar
	*modulesReport
	// Program is the order after the passes of --lower.
	Program []string `json:"program,omitempty"`
}

func (c *scheduleCmd) Run(std *streams) error {
	if strings.EqualFold(strings.TrimSpace(c.Name), allName) {
		return c.runAll(std)
	}
	if c.Markdown {
		return badInput(fmt.Errorf("--markdown: only schedule %s prints such a table", allName))
	}
	q, err := c.request()
	if err != nil {
		return badInput(err)
	}
	t, err := q.run()
	if err != nil {
		return badInput(fmt.Errorf("schedule %s: %w", q.name, err))
	}
	program, err := q.lower(c.Lower, t)
	if err != nil {
		return badInput(err)
	}
	if err := c.write(q, t, program); err != nil {
		return err
	}
	r := q.report(t)
	if len(c.Lower) > 0 {
		r.Program = rowTexts(program)
	}
	if c.JSON {
		err = writeJSON(std.out, r)
	} else {
		err = c.print(std, q, t, r)
	}
	if err != nil {
		return err
	}
	for d, peak := range t.Peak {
		if c.MemoryLimit > 0 && float64(peak) > c.MemoryLimit {
			return checkFailed(fmt.Errorf("device %d holds %d activations at its peak, the limit is %g", d, peak, c.MemoryLimit))
		}
	}
	return nil
}

// write makes the files that are asked for.
func (c *scheduleCmd) write(q *scheduleRequest, t *pipeline.Timing, program [][]pipeline.Cell) error {
	if c.CSV != "" {
		if q.alien != "" {
			return badInput(fmt.Errorf("--csv: PyTorch's grammar has %s, which this order of %s consists of", q.alien, q.name))
		}
		text := pipeline.FormatOrder(program)
		if err := writeFile(c.CSV, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			return badInput(err)
		}
	}
	if c.SVG != "" {
		if err := writeFile(c.SVG, func(w io.Writer) error { return report.SVGGantt(w, q.gantt(t)) }); err != nil {
			return badInput(err)
		}
	}
	return nil
}

func (c *scheduleCmd) print(std *streams, q *scheduleRequest, t *pipeline.Timing, r *scheduleReport) error {
	if _, err := fmt.Fprintln(std.out, q.title()); err != nil {
		return err
	}
	rows := []table.Row{
		{"makespan", fmt.Sprintf("%g", r.Makespan)},
		{"longest device span", fmt.Sprintf("%g", r.MaxDeviceSpan)},
		{"busiest device", fmt.Sprintf("%g", r.IdealBusy)},
		{"bubble", fmt.Sprintf("%.4f %%", 100*r.Bubble)},
	}
	if err := report.Table(std.out, table.Row{"", ""}, append(rows, r.rows()...)); err != nil {
		return err
	}
	if err := r.compared(std); err != nil {
		return err
	}
	if err := r.printDevices(std, q, t); err != nil {
		return err
	}
	if c.Gantt {
		if err := report.TextGantt(std.out, q.gantt(t), std.colour); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		if err := report.Para(std.out, note); err != nil {
			return err
		}
	}
	return nil
}

// printDevices prints what each device does and holds.
func (r *scheduleReport) printDevices(std *streams, q *scheduleRequest, t *pipeline.Timing) error {
	if r.modulesReport != nil {
		return r.modulesReport.printDevices(std, q, t, r.Order)
	}
	var rows []table.Row
	for d := range t.Order {
		rows = append(rows, table.Row{d, fmt.Sprintf("%g", q.units(t.Busy[d])), fmt.Sprintf("%g", q.units(t.Span[d])), t.Peak[d], t.PeakInputOnly[d], strings.ReplaceAll(r.Order[d], ",", " ")})
	}
	return report.Table(std.out, table.Row{"device", "busy", "span", "peak", "peak, B frees", "order"}, rows)
}

// units is a time in the unit of the costs.
func (q *scheduleRequest) units(t unit.Time) float64 { return float64(t) / float64(q.scale) }

func (q *scheduleRequest) title() string {
	s := fmt.Sprintf("%s: %d devices, %d microbatches", q.name, q.shape.Devices, q.shape.Microbatches)
	if q.shape.Virtual > 1 {
		s += fmt.Sprintf(", %d chunks a device", q.shape.Virtual)
	}
	if q.shape.Slices > 1 {
		s += fmt.Sprintf(", %d slices", q.shape.Slices)
	}
	return s
}

func (q *scheduleRequest) report(t *pipeline.Timing) *scheduleReport {
	r := &scheduleReport{Schedule: q.name, Stages: q.shape.Devices, Virtual: q.shape.Virtual, Microbatches: q.shape.Microbatches, Slices: q.shape.Slices,
		Makespan: q.units(t.Makespan), Bubble: t.Bubble(), Peak: t.Peak, PeakInputOnly: t.PeakInputOnly, Notes: q.notes}
	for d := range t.Order {
		r.MaxDeviceSpan = max(r.MaxDeviceSpan, q.units(t.Span[d]))
		r.IdealBusy = max(r.IdealBusy, q.units(t.Busy[d]))
	}
	r.Order = rowTexts(pipeline.Cells(t.Order, q.shape.Slices > 1))
	if q.modules != nil {
		r.Order = q.modules.names(q.shape, t)
		r.modulesReport = q.modules.report
		r.Peak = pipeline.LivePeaks(q.modules.report.live, pipeline.LLM)
		r.PeakInputOnly = r.Peak // backwards are whole
	}
	return r
}

// rowTexts is rows in the grammar, a text a device.
func rowTexts(rows [][]pipeline.Cell) []string {
	return strings.Split(strings.TrimSuffix(pipeline.FormatOrder(rows), "\n"), "\n")
}

// kind is a pass's letter, with its module's before it where it is not the LLM's.
func (q *scheduleRequest) kind(s pipeline.Slot) string {
	switch pipeline.ModuleOf(q.order, q.shape, int(s.Stage)) {
	case pipeline.Encoder:
		return "E" + s.Phase.String()
	case pipeline.Generator:
		return "G" + s.Phase.String()
	}
	return s.Phase.String()
}

// shade tells the chunks of a device apart, or the copies of its stages.
func (q *scheduleRequest) shade(s pipeline.Slot) int {
	if q.modules != nil {
		return q.modules.shade(q.shape, s)
	}
	return int(s.Stage)/q.shape.Devices + pipeline.CopyOf(q.order, q.shape, s)
}

func (q *scheduleRequest) gantt(t *pipeline.Timing) report.Gantt {
	g := report.Gantt{Title: q.title(), End: q.units(t.Makespan)}
	for d, slots := range t.Order {
		lane := report.GanttLane{Name: fmt.Sprintf("device %d", d), Bars: make([]report.GanttBar, len(slots))}
		for i, s := range slots {
			label := fmt.Sprint(s.Microbatch)
			if q.shape.Slices > 1 {
				label += fmt.Sprintf(".%d", s.Slice)
			}
			lane.Bars[i] = report.GanttBar{Start: q.units(t.Start[d][i]), End: q.units(t.End[d][i]), Kind: q.kind(s), Label: label, Shade: q.shade(s), Paired: s.Paired}
		}
		g.Lanes = append(g.Lanes, lane)
	}
	return g
}
