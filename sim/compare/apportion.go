package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"orrery/sim"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// apportion divides a whole among rows in proportion to their values, which add
// up to it but for rounding, in integers that add up to it exactly: each is its
// share rounded down, and what is left goes to those that lost most, one each
// (largest remainders; of equals the first by name). Rows of zero stay zero.
func apportion(rows map[string]float64, whole int64) map[string]int64 {
	var sum float64
	names := sorted(rows)
	for _, name := range names {
		sum += rows[name]
	}
	out := make(map[string]int64, len(rows))
	if !(sum > 0) {
		return out
	}
	type part struct {
		name string
		lost float64
	}
	var parts []part
	left := whole
	for _, name := range names {
		if rows[name] == 0 {
			continue
		}
		share := rows[name] / sum * float64(whole)
		out[name] = int64(math.Floor(share))
		left -= out[name]
		parts = append(parts, part{name, share - math.Floor(share)})
	}
	slices.SortStableFunc(parts, func(x, y part) int { return cmp.Compare(y.lost, x.lost) })
	for i := range parts {
		if left <= 0 {
			break
		}
		out[parts[i].name]++
		left--
	}
	if len(parts) > 0 { // sizes beyond what floats count exactly
		out[parts[0].name] += left
	}
	return out
}

func stageName(p sim.StageMemory) string { return fmt.Sprintf("stage %d, at %s", p.Stage, p.At) }

// notes say what makes the two steps hard to compare.
func notes(a, b *sim.Result) []string {
	out := []string{}
	tokens := func(r *sim.Result) float64 { return r.TokensPerSPerGPU * r.StepTimeS * float64(r.GPUs) }
	if x, y := tokens(a), tokens(b); math.Abs(x-y) > 1e-6*x {
		out = append(out, fmt.Sprintf("a step of B trains %.4g tokens, one of A %.4g: compare tokens_per_s_per_gpu", y, x))
	}
	if a.GPUs != b.GPUs {
		out = append(out, fmt.Sprintf("B runs on %d GPUs, A on %d", b.GPUs, a.GPUs))
	}
	if a.Profile != b.Profile {
		out = append(out, "the prices are of two profiles, whose errors do not cancel")
	} else if d := math.Abs(b.StepTimeS/a.StepTimeS - 1); d > 0 && d < max(a.StepTimeRelError, b.StepTimeRelError) {
		out = append(out, fmt.Sprintf("the difference of %.1f %% is within the error bar of either step (± %.0f %%); of one profile, errors that both sides share cancel", 100*d, 100*max(a.StepTimeRelError, b.StepTimeRelError)))
	}
	for _, s := range []struct {
		name string
		r    *sim.Result
	}{{"A", a}, {"B", b}} {
		if !s.r.Fits {
			out = append(out, s.name+" does not fit in memory")
		}
	}
	return out
}
