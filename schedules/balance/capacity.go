package balance

import (
	"fmt"
	"math"
)

// Capacity limits what a source rank sends to one expert, as Megatron-Core's
// token dispatcher does with moe_expert_capacity_factor: ceil(factor x pairs of
// token and expert / experts), counted on each source rank alone. Without it
// training is dropless.
type Capacity struct {
	Factor float64 // above 0
	// Pad fills every expert up to the capacity (moe_pad_expert_input_to_capacity).
	Pad bool
}

// Apply returns the load that is computed, the pairs dropped and the rows of
// padding added.
func (c Capacity) Apply(l *Load) (out *Load, dropped, padded int64, err error) {
	if !(c.Factor > 0) || math.IsInf(c.Factor, 0) {
		return nil, 0, 0, fmt.Errorf("the capacity factor is %g, must be above 0", c.Factor)
	}
	out = l.Clone()
	for r := range l.Ranks {
		row := out.Tokens[r*l.Experts : (r+1)*l.Experts]
		pairs := int64(0)
		for _, n := range row {
			pairs += n
		}
		limit := int64(math.Ceil(min(c.Factor*float64(pairs)/float64(l.Experts), float64(maxTokens))))
		for e, n := range row {
			if n > limit {
				dropped += n - limit
				row[e] = limit
			} else if c.Pad {
				padded += limit - n
				row[e] = limit
			}
		}
	}
	return out, dropped, padded, out.check()
}
