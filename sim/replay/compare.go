package replay

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Row is a prediction against its measurement, in microseconds or bytes.
type Row struct {
	What      string  `json:"what"`
	Unit      string  `json:"unit"` // us or bytes
	Predicted float64 `json:"predicted"`
	Measured  float64 `json:"measured"`
	Error     float64 `json:"error"`     // signed, relative to the measurement
	RelError  float64 `json:"rel_error"` // the prediction's error bar; 0 where it states none
	Inside    bool    `json:"inside"`    // the measurement is within the error bar
}

// OpRow is the Row of an op of a pass.
type OpRow struct {
	Pass       int    `json:"pass"`
	Op         int    `json:"op"`
	Layer      int64  `json:"layer"`
	Microbatch int32  `json:"microbatch"`
	Class      string `json:"class"`
	Source     string `json:"source"`
	Row
}

// Group is the rows of ops of one name: medians and the sum of times.
type Group struct {
	Row
	Ops       int     `json:"ops"`
	InBar     int     `json:"ops_inside"`
	MedianAbs float64 `json:"median_abs_error"`
	P90Abs    float64 `json:"p90_abs_error"`
}

// PassRow is the Row of a pass. Gap is what it took beyond its ops.
type PassRow struct {
	Pass  int     `json:"pass"`
	GapUS float64 `json:"gap_us"`
	Row
}

// Comparison is the whole of an export against the whole of a result.
type Comparison struct {
	Name   string    `json:"name"`
	GPU    string    `json:"gpu"`
	Date   string    `json:"date"`
	Ops    []OpRow   `json:"ops"`
	ByName []Group   `json:"by_name"`
	ByKind []Group   `json:"by_kind"`
	Passes []PassRow `json:"passes"`
	Step   Row       `json:"step"`
	Peak   Row       `json:"peak_memory"`
	Held   Row       `json:"held_memory"`
	GapUS  float64   `json:"gap_us"` // of all passes
}

func row(what, unit string, predicted, measured, bar float64) Row {
	r := Row{What: what, Unit: unit, Predicted: predicted, Measured: measured, Error: predicted/measured - 1, RelError: bar}
	r.Inside = math.Abs(measured-predicted) <= bar*predicted
	return r
}

// computeOps are the ops of a pass that a GPU without neighbours runs, in order.
func (e *Export) computeOps(p *Pass) (ops []*Op, layers []int64) {
	for _, u := range p.Blocks {
		blk := &e.Blocks[u.Block]
		for i := range blk.Ops {
			if blk.Ops[i].Lane == laneCompute {
				ops, layers = append(ops, &blk.Ops[i]), append(layers, u.Layer)
			}
		}
	}
	return ops, layers
}

// replayed reports whether kernels/replay.py runs the pass: it has no optimizer.
func (p *Pass) replayed() bool { return p.Microbatch >= 0 }

// Compare holds a result against the export that it was made from.
func Compare(e *Export, r *Result) (*Comparison, error) {
	switch {
	case r.ExportDigest != e.Digest:
		return nil, fmt.Errorf("the result is of export %.12s…, this one is %.12s…: export and run again", r.ExportDigest, e.Digest)
	case r.Device != "cuda" || r.Tiny:
		return nil, fmt.Errorf("the result is of device %q, tiny %t: it tests the path and measures nothing; want cuda at full size", r.Device, r.Tiny)
	}
	c := &Comparison{Name: e.Name, GPU: r.GPU, Date: r.Date}
	times := map[[2]int]OpTime{}
	for _, o := range r.Ops {
		k := [2]int{o.Pass, o.Op}
		if _, twice := times[k]; twice {
			return nil, fmt.Errorf("pass %d op %d (%s) is measured twice", o.Pass, o.Op, o.Name)
		}
		times[k] = o
	}
	passes := map[int]PassTime{}
	for _, p := range r.Passes {
		if _, twice := passes[p.Pass]; twice {
			return nil, fmt.Errorf("pass %d is measured twice", p.Pass)
		}
		passes[p.Pass] = p
	}
	stepBar := 0.0
	step := 0.0
	for i := range e.Passes {
		p := &e.Passes[i]
		if !p.replayed() {
			continue
		}
		total, ok := passes[i]
		if !ok {
			return nil, fmt.Errorf("pass %d (%s) is not in the result", i, p.name())
		}
		delete(passes, i)
		sum, err := c.pass(e, i, times)
		if err != nil {
			return nil, err
		}
		if len(p.Blocks) == 0 {
			continue
		}
		pr := PassRow{i, total.MedianUS - sum, row(p.name(), "us", micros(p.ReplayPS), total.MedianUS, p.RelError)}
		c.Passes = append(c.Passes, pr)
		c.GapUS += pr.GapUS
		step += micros(p.ReplayPS)
		stepBar += p.RelError * micros(p.ReplayPS)
	}
	if len(times) > 0 || len(passes) > 0 {
		return nil, fmt.Errorf("the result has %d ops and %d passes that the export does not have", len(times), len(passes))
	}
	// the same kernels run in every pass, so that their errors add up
	c.Step = row("step", "us", step, r.Step.MedianUS, stepBar/math.Max(step, 1e-300))
	c.Peak = row("peak", "bytes", float64(e.Memory.ReplayPeakBytes), float64(max(r.Memory.PeakBytes, 1)), 0)
	held := int64(0)
	for _, it := range e.Memory.Ledger {
		if it.Name == "weights" || it.Name == "gradients" {
			held += it.Bytes
		}
	}
	c.Held = row("held", "bytes", float64(held), float64(max(r.Memory.HeldBytes, 1)), 0)
	c.ByName = groups(c.Ops, func(o OpRow) string { return o.What })
	c.ByKind = groups(c.Ops, func(o OpRow) string { return o.Class })
	return c, nil
}

// pass joins the ops of pass i and returns the sum of their measured times in us.
func (c *Comparison) pass(e *Export, i int, times map[[2]int]OpTime) (float64, error) {
	p := &e.Passes[i]
	ops, layers := e.computeOps(p)
	sum := 0.0
	for j, op := range ops {
		t, ok := times[[2]int{i, j}]
		if !ok {
			return 0, fmt.Errorf("pass %d (%s), op %d (%s) is not in the result", i, p.name(), j, op.Name)
		}
		if t.Name != op.Name {
			return 0, fmt.Errorf("pass %d, op %d is %q in the result and %q in the export", i, j, t.Name, op.Name)
		}
		delete(times, [2]int{i, j})
		sum += t.MedianUS
		c.Ops = append(c.Ops, OpRow{i, j, layers[j], p.Microbatch, op.Class, op.Source,
			row(op.Name, "us", micros(op.AlonePS), t.MedianUS, op.RelError)})
	}
	return sum, nil
}

func (p *Pass) name() string {
	return fmt.Sprintf("%s stage %d microbatch %d slice %d", p.Kind, p.Stage, p.Microbatch, p.Slice)
}

func micros(ps int64) float64 { return float64(ps) / 1e6 }

// groups sums ops up by a key, the group with the most measured time first.
func groups(rows []OpRow, key func(OpRow) string) []Group {
	at := map[string]int{}
	var out []Group
	var bars []float64
	var abs [][]float64
	for _, r := range rows {
		k := key(r)
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out, abs, bars = append(out, Group{Row: Row{What: k, Unit: r.Unit}}), append(abs, nil), append(bars, 0)
		}
		g := &out[i]
		g.Ops++
		if r.Inside {
			g.InBar++
		}
		g.Predicted += r.Predicted
		g.Measured += r.Measured
		bars[i] += r.RelError * r.Predicted
		abs[i] = append(abs[i], math.Abs(r.Error))
	}
	for i := range out {
		g := &out[i]
		g.Row = row(g.What, g.Unit, g.Predicted, g.Measured, bars[i]/math.Max(g.Predicted, 1e-300))
		slices.Sort(abs[i])
		g.MedianAbs, g.P90Abs = quantile(abs[i], 0.5), quantile(abs[i], 0.9)
	}
	slices.SortStableFunc(out, func(a, b Group) int { return cmp.Compare(b.Measured, a.Measured) })
	return out
}

// quantile interpolates linearly between order statistics (type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// MaxError is the largest absolute error of step time, peak memory and passes.
func (c *Comparison) MaxError() (what string, err float64) {
	rows := []Row{c.Step, c.Peak}
	for _, p := range c.Passes {
		rows = append(rows, p.Row)
	}
	for _, r := range rows {
		if a := math.Abs(r.Error); a > err {
			what, err = r.What, a
		}
	}
	return what, err
}
