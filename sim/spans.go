package sim

import (
	"orrery/sim/cost"
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
