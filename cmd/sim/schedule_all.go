package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/schedules/pipeline"
	"orrery/sim/report"
	"orrery/sim/unit"
)

// allName is the name that compares all schedules.
const allName = "all"

// maxCompared bounds the passes of a compared schedule, 2 m p^2.
const maxCompared = 1 << 22

// comparison is what `sim schedule all --json` prints. Costs are of a whole
// microbatch on a device's share of the model: a pass of one of its v chunks, over
// one of n slices, takes 1/(vn) of them and its transfer 1/n of comm. Times are in
// the unit of the costs.
type comparison struct {
	Stages       int             `json:"stages"`
	Microbatches int             `json:"microbatches"`
	Cost         [3]float64      `json:"cost"` // F, B, W
	Comm         float64         `json:"comm"`
	Schedules    []comparisonRow `json:"schedules"`
	LeftOut      []leftOut       `json:"left_out,omitempty"`
	Notes        []string        `json:"notes,omitempty"`
}

type comparisonRow struct {
	Schedule     string  `json:"schedule"`
	Virtual      int     `json:"virtual"`
	Slices       int     `json:"slices"`
	Microbatches int     `json:"microbatches"`
	Makespan     float64 `json:"makespan"`
	Bubble       float64 `json:"bubble_fraction"`
	// Peak is what the worst device holds, in microbatches' activations of a
	// device's share of the model.
	Peak float64 `json:"peak_microbatches"`
	// Messages is how many outputs the device sends that sends most.
	Messages int `json:"messages"`
	// Volume is what all devices send, over what those of 1f1b do.
	Volume float64 `json:"p2p_volume"`
	Copies int     `json:"weight_copies"`
}

type leftOut struct {
	Schedule string `json:"schedule"`
	Why      string `json:"why"`
}

// compared is a schedule of the table: an order for a shape and costs.
type compared struct {
	name   string
	copies int // of the weights
	check  func(pipeline.Shape) error
	order  func(pipeline.Shape, pipeline.Costs) (pipeline.Schedule, error)
}

// allCompared is the registry and the automatic schedules, by name; those get as
// much memory as 1f1b has.
func allCompared() []compared {
	var out []compared
	for _, s := range pipeline.All() {
		if _, ok := s.(pipeline.Multimodal); ok {
			continue // sim schedule bigmac compares those
		}
		out = append(out, compared{s.Name(), pipeline.Replicas(s), s.Check, func(pipeline.Shape, pipeline.Costs) (pipeline.Schedule, error) { return s, nil }})
	}
	for _, a := range pipeline.Autos() {
		out = append(out, compared{a.Name(), 1, a.Check, func(s pipeline.Shape, c pipeline.Costs) (pipeline.Schedule, error) {
			return a.Order(s, c, float64(s.Devices))
		}})
	}
	slices.SortFunc(out, func(a, b compared) int { return cmp.Compare(a.name, b.name) })
	return out
}

func (c *scheduleCmd) runAll(std *streams) error {
	t, err := c.compare()
	if err != nil {
		return badInput(fmt.Errorf("schedule %s: %w", allName, err))
	}
	switch {
	case c.JSON:
		return writeJSON(std.out, t)
	case c.Markdown:
		return t.markdown(std)
	}
	return t.print(std)
}

// checkAlone refuses flags that are for one schedule.
func (c *scheduleCmd) checkAlone() error {
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"virtual", c.Virtual != 0}, {"slices", c.Slices != 1}, {"attention", c.Attention != ""}, {"stage-factors", len(c.StageFactors) > 0},
		{"memory-limit", c.MemoryLimit != 0}, {"param", len(c.Param) > 0}, {"encoder", c.Encoder != ""}, {"generator", c.Generator != ""}, {"warmup", c.Warmup != 0}, {"blocking", c.Blocking}, {"csv", c.CSV != ""}, {"svg", c.SVG != ""}, {"gantt", c.Gantt},
	} {
		if flag.set {
			return fmt.Errorf("--%s is for one schedule; all take --stages, --microbatches, --cost, --comm, --json and --markdown", flag.name)
		}
	}
	p, m := c.Stages, c.Microbatches
	switch {
	case strings.Contains(c.Cost, "/"):
		return fmt.Errorf("--cost has the costs of each stage, which are for one schedule: all take one F,B,W")
	case c.JSON && c.Markdown:
		return fmt.Errorf("--json and --markdown: one of them")
	case p < 2 || m < 1:
		return fmt.Errorf("--stages is %d, --microbatches %d: want 2 or more stages and 1 or more microbatches", p, m)
	case p > maxCompared || m > maxCompared/2/p/p:
		return fmt.Errorf("--stages is %d, --microbatches %d: schedules are compared where 2 x microbatches x stages^2 is at most %d", p, m, maxCompared)
	}
	return nil
}

func (c *scheduleCmd) compare() (*comparison, error) {
	if err := c.checkAlone(); err != nil {
		return nil, err
	}
	q := &scheduleRequest{shape: pipeline.Shape{Devices: c.Stages, Virtual: 1, Microbatches: c.Microbatches, Slices: 1}}
	if err := q.price(c, nil); err != nil {
		return nil, err
	}
	whole := q.costs
	t := &comparison{Stages: c.Stages, Microbatches: c.Microbatches, Comm: q.units(whole.Comm),
		Cost: [3]float64{q.units(whole.F), q.units(whole.I), q.units(whole.W)}}
	// Two chunks and as many slices as stages divide whole units of time.
	fine := int64(2 * c.Stages)
	if float64(max(whole.F, whole.I, whole.W, whole.Comm))*float64(fine) > math.MaxInt64/2 {
		return nil, fmt.Errorf("the costs leave the range of time")
	}
	q.scale *= fine
	for _, s := range allCompared() {
		shape, err := pipeline.UsualShape(s.check, c.Stages, c.Microbatches)
		if err != nil {
			t.LeftOut = append(t.LeftOut, leftOut{s.name, err.Error()})
			continue
		}
		row, err := q.compareOne(s, shape, whole, unit.Time(fine))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if row.Microbatches != c.Microbatches {
			t.Notes = append(t.Notes, fmt.Sprintf("%s has %d microbatches, the nearest number that it takes.", s.name, row.Microbatches))
		}
		t.Schedules = append(t.Schedules, row)
	}
	for _, l := range t.LeftOut {
		t.Notes = append(t.Notes, fmt.Sprintf("%s is left out: %s.", l.Schedule, l.Why))
	}
	return t, nil
}

// compareOne times a schedule where whole are the costs of a whole microbatch on a
// device, in units of which there are fine times as many.
func (q *scheduleRequest) compareOne(s compared, shape pipeline.Shape, whole pipeline.Costs, fine unit.Time) (comparisonRow, error) {
	// Of the model, a stage is 1/parts of what 1f1b has on a device.
	parts, n := shape.Virtual/s.copies, shape.Slices
	pass := func(t unit.Time) unit.Time { return t * fine / unit.Time(parts*n) }
	costs := pipeline.Costs{F: pass(whole.F), I: pass(whole.I), W: pass(whole.W), Comm: whole.Comm * fine / unit.Time(n)}
	order, err := s.order(shape, costs)
	if err != nil {
		return comparisonRow{}, err
	}
	t, err := pipeline.Simulate(order, shape, costs)
	if err != nil {
		return comparisonRow{}, err
	}
	sends, total := pipeline.Sends(order, shape, t.Order), 0
	for _, x := range sends {
		total += x
	}
	plain := 2 * shape.Microbatches * (shape.Devices - 1) // of 1f1b
	return comparisonRow{Schedule: s.name, Virtual: shape.Virtual, Slices: n, Microbatches: shape.Microbatches,
		Makespan: q.units(t.Makespan), Bubble: t.Bubble(), Peak: float64(slices.Max(t.Peak)) / float64(parts*n),
		Messages: slices.Max(sends), Volume: float64(total) / float64(n*plain), Copies: s.copies}, nil
}

func (t *comparison) title() string {
	return fmt.Sprintf("%d devices, %d microbatches, F,B,W = %g,%g,%g, transfers %g", t.Stages, t.Microbatches, t.Cost[0], t.Cost[1], t.Cost[2], t.Comm)
}

var comparisonHead = []string{"schedule", "v", "n", "makespan", "bubble", "peak", "sends", "volume", "weights"}

func (t *comparison) cells() [][]string {
	var rows [][]string
	for _, r := range t.Schedules {
		rows = append(rows, []string{r.Schedule, fmt.Sprint(r.Virtual), fmt.Sprint(r.Slices), fmt.Sprintf("%.7g", r.Makespan), fmt.Sprintf("%.1f %%", 100*r.Bubble),
			fmt.Sprintf("%.2f", r.Peak), fmt.Sprint(r.Messages), fmt.Sprintf("%.2f", r.Volume), fmt.Sprint(r.Copies)})
	}
	return rows
}

// comparisonLegend says what the columns are.
const comparisonLegend = "A device has v chunks of the model, a microbatch n slices; costs are of a whole microbatch on a device. " +
	"peak: most activations that a device holds, in microbatches of its share; sends: most outputs that a device sends; " +
	"volume: of all that is sent, over 1f1b's; weights: copies of them. Automatic schedules have the memory of 1f1b."

func (t *comparison) print(std *streams) error {
	if _, err := fmt.Fprintln(std.out, t.title()); err != nil {
		return err
	}
	head := table.Row{}
	for _, h := range comparisonHead {
		head = append(head, h)
	}
	var rows []table.Row
	for _, cells := range t.cells() {
		row := table.Row{}
		for _, cell := range cells {
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	if err := report.Table(std.out, head, rows); err != nil {
		return err
	}
	for _, note := range append([]string{comparisonLegend}, t.Notes...) {
		if err := report.Para(std.out, note); err != nil {
			return err
		}
	}
	return nil
}

// markdown prints the table for a page, which explains the columns itself.
func (t *comparison) markdown(std *streams) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n\n", t.title())
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(comparisonHead)
	b.WriteString("|---" + strings.Repeat("|--:", len(comparisonHead)-1) + "|\n")
	for _, cells := range t.cells() {
		cells[0] = "`" + cells[0] + "`"
		line(cells)
	}
	for _, note := range t.Notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	_, err := fmt.Fprint(std.out, b.String())
	return err
}
