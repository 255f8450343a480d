package cost

import "orrery/sim/unit"

// Sustained clocks. Tables of kernels are measured in bursts of a few
// milliseconds; a training step keeps every tensor core busy for seconds, and
// the board's power limit lowers the clock of all SM-bound kernels. The factor
// is time in a step over time in a burst.
//
// Evidence at the level of kernels: the collections of one GEMM table differ by
// 1.06 (H100), 1.09 (H200) and 1.14 (GB200) between the slowest and the median
// for GEMMs above 0.4 TFLOP, the sign of throttled machines; SimuMax's GEMMs,
// measured inside training on B200, are 1.2 to 1.4 times slower than the GB200
// table scaled by peak. The factors below are fitted to published dense runs,
// one number for each generation and format (docs/fidelity.md has the rows).
type sustained struct{ wide, narrow float64 } // 16-bit formats; 8-bit and narrower

var sustainedBy = map[string]sustained{
	"sm80":  {1, 1},
	"sm90":  {1.16, 1.08},
	"sm100": {1.20, 1.06},
	"sm103": {1.10, 1.00}, // 1,400 W boards throttle less
}

// Sustained is the factor on a kernel's price inside a training step: 1 for
// what memory or links bound, and for fits that were measured in training.
func (p *Profile) Sustained(k Kernel) float64 {
	if p.hw == nil {
		return 1
	}
	if p.variant() {
		return p.base.Sustained(k)
	}
	s, ok := sustainedBy[p.hw.Arch]
	if !ok {
		return 1
	}
	pick := func(d unit.DType) float64 {
		if d.Bytes() < 2 {
			return s.narrow
		}
		return s.wide
	}
	switch k := k.(type) {
	case GEMM:
		if m := p.GEMM[k.DType]; m != nil && m.OverBase { // SimuMax: measured in training
			return 1
		}
		return pick(k.DType)
	case GroupedGEMM:
		return pick(k.DType)
	}
	return 1
}
