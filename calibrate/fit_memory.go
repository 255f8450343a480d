package calibrate

import (
	"fmt"

	"orrery/sim/cost"
	"orrery/sim/hw"
)

func init() {
	fitters = append(fitters, fitter{family: cost.FamMemory, fit: fitMemory})
}

// fewestMemoryRows that make a fit of an op.
const fewestMemoryRows = 20

// fitMemory fits every op that has enough rows; the others keep the fits that they had.
func fitMemory(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	byOp := map[string][]Sample{}
	for _, s := range samples {
		k, ok := s.Kernel.(cost.Memory)
		if !ok {
			return fmt.Errorf("%s is no memory-bound kernel", s.Kernel)
		}
		byOp[k.Op] = append(byOp[k.Op], s)
	}
	if p.Memory == nil {
		p.Memory = &cost.MemoryModel{Ops: map[string]*cost.MemoryOp{}}
	}
	for _, op := range sortedKeys(byOp) {
		if len(byOp[op]) < fewestMemoryRows {
			continue
		}
		m, errors, err := fitValidated(byOp[op], func(rows []Sample) (*cost.MemoryOp, error) { return fitMemoryOp(rows, g) },
			func(m *cost.MemoryOp, k cost.Kernel) (float64, error) { return m.Micros(k.HBMBytes(), g), nil }, byShape("errors"))
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		m.Errors = errors
		p.Memory.Ops[op] = m
	}
	return nil
}

// unseenLaunch is the launch of an op of which no row is small enough to show it, in
// microseconds: assumed, as copies and casts of a few KiB have.
const unseenLaunch = 2.5

func fitMemoryOp(samples []Sample, g *hw.GPU) (*cost.MemoryOp, error) {
	micros := make([]float64, len(samples))
	small := false
	for i, s := range samples {
		micros[i] = s.Micros
		small = small || s.Kernel.HBMBytes() < float64(g.L2)/2
	}
	start := []float64{0.6, 0.8, 1}
	if small {
		start = append(start, 3)
	}
	model := func(p []float64) *cost.MemoryOp {
		m := &cost.MemoryOp{Launch: unseenLaunch, Share: p[0], Cached: p[1], Knee: p[2]}
		if small {
			m.Launch = p[3]
		}
		return m
	}
	p, _, err := fitPositive(start, micros, func(i int, p []float64) float64 {
		return model(p).Micros(samples[i].Kernel.HBMBytes(), g)
	})
	if err != nil {
		return nil, err
	}
	for i := range p {
		p[i] = round4(p[i])
	}
	return model(p), nil
}
