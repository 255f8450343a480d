package sim

import (
	"math"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// PricedOp is one kernel of a block as the run priced it.
type PricedOp struct {
	lower.Op
	Start  unit.Time     // within the block
	InStep unit.Time     // its time in the step: in pieces, where overlapped so, and for messages what stays exposed of those pieces
	Alone  cost.Estimate // of the kernel whole, with nothing beside it
}

// BlockOps are the kernels of a block of this run's step, in its order.
func (r *Run) BlockOps(b *lower.Block) ([]PricedOp, error) {
	bp, err := r.prices.block(b)
	if err != nil {
		return nil, err
	}
	out := make([]PricedOp, len(b.Ops))
	for i, op := range b.Ops {
		alone, err := r.prices.kernel(op.Kernel)
		if err != nil {
			return nil, err
		}
		out[i] = PricedOp{op, bp.Start[i], bp.Dur[i], alone}
	}
	return out, nil
}

// WorkTime is what a work's time is made of; the parts add up to Time.
type WorkTime struct {
	Time      unit.Time
	Compute   unit.Time // kernels of the compute lane, undisturbed
	Exposed   unit.Time // communication inside its blocks that compute waited for
	Contended unit.Time // slow-down by communication beside it
	Host      unit.Time // what launching took beyond the GPU's time
	Launches  int64     // kernels
}

// WorkTime splits the time of a work of the step's program.
func (r *Run) WorkTime(id program.WorkID) WorkTime {
	w := &r.prices.works[id]
	t := WorkTime{Time: w.Time + w.Host, Contended: w.Contended, Host: w.Host, Launches: w.Launches}
	for _, b := range w.Busy {
		t.Compute += b
	}
	t.Compute -= w.Contended
	t.Exposed = w.Time - t.Compute - t.Contended
	return t
}

// HostPerLaunch is the host's time to launch one kernel; 0 with CUDA graphs.
func (r *Run) HostPerLaunch() unit.Time { return r.prices.host }

// GPU is the scenario's GPU with its overrides.
func (r *Run) GPU() *hw.GPU { return r.prices.gpu }

// WorkPrice is the price of a whole work of the step's program.
type WorkPrice struct {
	Time   unit.Time
	RelErr float64 // half width of the 90 % interval, relative to Time
	// Uses are the blocks that the work runs, one after the other; nil where it is
	// one kernel or none.
	Uses    []lower.Use
	Paired  bool                    // the blocks' kernels run among those of another pass
	Kernel  cost.Kernel             // nil where there are blocks
	Sources map[cost.Source]float64 // share of the kernels' time by where their prices are from
}

// WorkPrice tells what a work of the step's program costs, and why. Passes of a
// pair list their own kernels, whose times alone add up to more than the pair's.
func (r *Run) WorkPrice(id program.WorkID) (WorkPrice, error) {
	w, p := &r.Step.Works[id], &r.prices.works[id]
	out := WorkPrice{Time: r.prices.dur[id], Uses: w.Blocks, Kernel: w.Kernel, Sources: map[cost.Source]float64{}}
	if w.Pair != nil {
		out.Paired = true
		out.Uses = w.Pair.Backward
		if r.Step.Program.Works[id].Kind == program.Forward {
			out.Uses = w.Pair.Forward
		}
	}
	if out.Time > 0 {
		out.RelErr = math.Sqrt(p.err2) / out.Time.Seconds()
	}
	total := 0.0
	add := func(e cost.Estimate, times int64) {
		if e.Source != "" {
			s := float64(times) * e.Time.Seconds()
			out.Sources[e.Source] += s
			total += s
		}
	}
	if w.Kernel != nil {
		e, err := r.prices.kernel(w.Kernel)
		if err != nil {
			return out, err
		}
		add(e, 1)
	}
	for _, u := range out.Uses {
		for _, op := range u.Block.Ops {
			e, err := r.prices.kernel(op.Kernel)
			if err != nil {
				return out, err
			}
			add(e, u.Times)
		}
	}
	for s := range out.Sources {
		out.Sources[s] /= max(total, 1e-300)
	}
	return out, nil
}

// KernelPrice is the price of a kernel as the run has it: whole, with nothing beside it.
func (r *Run) KernelPrice(k cost.Kernel) (cost.Estimate, error) { return r.prices.kernel(k) }
