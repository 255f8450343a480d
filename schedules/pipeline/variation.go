package pipeline

import (
	"fmt"
	"math"

	"orrery/sim/unit"
)

// Variation is how the passes of one phase differ. A pass takes its cost plus
// Attention's, which grows with the slice, times the factors of its stage, its
// microbatch and its slice.
type Variation struct {
	// Attention is the mean cost of causal attention in a pass. Equal slices see
	// ever more keys: slice k of n takes (2k+1)/n of it.
	Attention Costs
	// Factors; none counts as 1 for all.
	Stage, Microbatch, Slice []float64
}

// Varied is costs that vary so over so many global stages ([Stages]), rounded to
// the nearest unit of time.
func (c Costs) Varied(v Variation, s Shape, stages int) (Costs, error) {
	if err := s.check(); err != nil {
		return c, err
	}
	if c.Vary != nil || v.Attention.Vary != nil {
		return c, fmt.Errorf("costs that vary cannot vary again")
	}
	for _, f := range []struct {
		of     string
		values []float64
		want   int
	}{{"stage", v.Stage, stages}, {"microbatch", v.Microbatch, s.Microbatches}, {"slice", v.Slice, s.slices()}} {
		if n := len(f.values); n > 0 && n != f.want {
			return c, fmt.Errorf("%d factors by %s, want %d", n, f.of, f.want)
		}
		for i, x := range f.values {
			if !(x >= 0) || math.IsInf(x, 0) {
				return c, fmt.Errorf("the factor of %s %d is %g, must be 0 or more", f.of, i, x)
			}
		}
	}
	factor := func(values []float64, i int32) float64 {
		if len(values) == 0 {
			return 1
		}
		return values[i]
	}
	base, n := c, float64(s.slices())
	c.Vary = func(slot Slot) unit.Time {
		cost := float64(base.of(slot.Phase)) + float64(v.Attention.of(slot.Phase))*float64(2*slot.Slice+1)/n
		cost *= factor(v.Stage, slot.Stage) * factor(v.Microbatch, slot.Microbatch) * factor(v.Slice, slot.Slice)
		if cost > math.MaxInt64/2 {
			return math.MaxInt64 / 2 // which Costs.check refuses
		}
		return unit.Time(math.Round(cost))
	}
	return c, nil
}

// ByStage is costs that differ from stage to stage: those of each global stage, whose
// own transfer times play no part.
func ByStage(stages []Costs, comm unit.Time) Costs {
	return Costs{Comm: comm, Vary: func(slot Slot) unit.Time { return stages[slot.Stage].of(slot.Phase) }}
}

// BalancedSlices cuts a sequence of length tokens into n slices of equal work
// where the first x tokens take linear*x + quadratic*x^2, as Seq1F1B does
// (arXiv:2406.03488). The lengths are in tokens and not rounded.
func BalancedSlices(linear, quadratic, length float64, n int) ([]float64, error) {
	for _, x := range []float64{linear, quadratic, length} {
		if !(x >= 0) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("work of %g x + %g x^2 up to %g tokens: none may be negative", linear, quadratic, length)
		}
	}
	if n < 1 || n > maxPasses || linear+quadratic == 0 || length == 0 {
		return nil, fmt.Errorf("%d slices of %g tokens with work %g x + %g x^2: want 1 or more slices and some work", n, length, linear, quadratic)
	}
	total := linear*length + quadratic*length*length
	out := make([]float64, n)
	before := 0.0
	for i := range out {
		y := total * float64(i+1) / float64(n)
		// 2y/(a + sqrt(a^2+4qy)) is the root without its cancellation, also at q = 0.
		end := 2 * y / (linear + math.Sqrt(linear*linear+4*quadratic*y))
		if i == n-1 {
			end = length
		}
		out[i], before = end-before, end
	}
	return out, nil
}
