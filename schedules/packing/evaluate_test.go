package packing

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// linearCost costs a microsecond a token and nothing else; backward twice.
var linearCost = Cost{TokenS: 1e-6, BackToken: 2, BackPair: 2}

// slicedPlan cuts samples at the given tokens, runs 1F1B over the slices and the
// slices of a sample in reverse in the backward.
func slicedPlan(cuts [][]int) (lengths []int, p *Plan) {
	p = &Plan{}
	for s, ends := range cuts {
		var units []Unit
		at := 0
		for _, end := range ends {
			units = append(units, Unit{Width: 1, Slices: []Slice{{Sample: int32(s), X0: int32(at), X1: int32(end)}}})
			at = end
		}
		lengths = append(lengths, at)
		p.Forward = append(p.Forward, units...)
		p.Backward = append(p.Backward, reversed(units)...)
	}
	return lengths, p
}

// The common model times whole and sliced samples as the pipeline schedules 1f1b and
// seq1f1b do, which are held to published vectors.
func TestEvaluateAgreesWithPipelineSchedules(t *testing.T) {
	schedule, err := pipeline.Lookup("seq1f1b")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		p, m, n := rapid.IntRange(1, 6).Draw(t, "p"), rapid.IntRange(1, 8).Draw(t, "m"), rapid.IntRange(1, 5).Draw(t, "n")
		cuts := make([][]int, m)
		for i := range cuts {
			at := 0
			for range n {
				at += rapid.IntRange(1, 50).Draw(t, "slice")
				cuts[i] = append(cuts[i], at)
			}
		}
		lengths, plan := slicedPlan(cuts)
		c := linearCost
		c.HopS = rapid.SampledFrom([]float64{0, 3e-6}).Draw(t, "hop")
		j := &Job{Lengths: lengths, DP: 1, PP: p, CP: 1, Context: 250, Cost: c}
		require.NoError(t, j.Check())
		require.NoError(t, Validate(j, plan))
		got, err := Evaluate(j, plan)
		require.NoError(t, err)
		want, err := pipeline.Simulate(schedule, pipeline.Shape{Devices: p, Virtual: 1, Microbatches: m, Slices: n}, pipeline.Costs{
			Comm: unit.Seconds(c.HopS),
			Vary: func(s pipeline.Slot) unit.Time {
				from := 0
				if s.Slice > 0 {
					from = cuts[s.Microbatch][s.Slice-1]
				}
				q := unit.Time(cuts[s.Microbatch][s.Slice] - from)
				if s.Phase == pipeline.B {
					q *= 2
				}
				return q * unit.Microsecond
			},
		})
		require.NoError(t, err)
		// Sums of decimal fractions are rounded up to a picosecond a unit.
		require.InDelta(t, float64(want.Makespan), float64(got.Step), float64(4*m*n*p))
	})
}

func TestUniformUnitsHaveTheClosedForm(t *testing.T) {
	for _, p := range []int{1, 2, 4, 8} {
		for _, n := range []int{1, 4} {
			const m = 12
			cuts := make([][]int, m)
			for i := range cuts {
				for k := range n {
					cuts[i] = append(cuts[i], 100*(k+1)/n)
				}
			}
			lengths, plan := slicedPlan(cuts)
			j := &Job{Lengths: lengths, DP: 1, PP: p, CP: 1, Context: 100, Cost: linearCost}
			m1, err := Measure(j, plan)
			require.NoError(t, err)
			require.InDelta(t, float64(m*n+p-1)*300e-6/float64(n), m1.StepS, 1e-9, "(mn+p-1)(F+B)/n")
			require.InDelta(t, float64(p-1)/float64(m*n+p-1), m1.Bubble, 1e-6, "bubble of 1F1B over slices")
			require.InDelta(t, 100*float64(min(n+p-1, m*n))/float64(n), m1.PeakTokens, 1e-9, "n+p-1 slices are held")
		}
	}
}

// A lane that shares nothing is not slowed by others; the step is that of the
// slowest; merged lanes wait for each other.
func TestLanes(t *testing.T) {
	alone := func(tokens ...int) float64 {
		j := &Job{Lengths: tokens, DP: 1, PP: 1, CP: 1, Context: 100, Cost: linearCost}
		plan := j.dealt([][]int32{arrival(tokens)})
		m, err := Measure(j, plan)
		require.NoError(t, err)
		return m.StepS
	}
	j := &Job{Lengths: []int{100, 10, 60}, DP: 2, PP: 1, CP: 1, Context: 100, Cost: linearCost}
	apart := j.dealt([][]int32{{0}, {1}, {2}})
	m, err := Measure(j, apart)
	require.NoError(t, err)
	require.InDelta(t, alone(100)+alone(60), m.StepS, 1e-9)
	require.InDelta(t, (100+60)/85.0, m.DP, 1e-6)

	both := Unit{Width: 2, Slices: []Slice{j.whole(0)}}
	units := []Unit{both, j.row(0, []int32{1}), j.row(1, []int32{2})}
	m, err = Measure(j, &Plan{Forward: units, Backward: units})
	require.NoError(t, err)
	require.InDelta(t, alone(100)/2+alone(60), m.StepS, 1e-9)
	require.Equal(t, 1, m.Merged)
}

// Where the first backward of lane 0 is the second of lane 1, one waits for a
// backward and the other for a forward of the other, for ever.
func TestDeadlockIsAnError(t *testing.T) {
	j := &Job{Lengths: []int{10, 10, 10}, DP: 2, PP: 1, CP: 1, Context: 10, Cost: linearCost}
	both := func(s int32) Unit { return Unit{Width: 2, Slices: []Slice{j.whole(s)}} }
	own := j.row(1, []int32{2})
	plan := &Plan{Forward: []Unit{both(0), both(1), own}, Backward: []Unit{own, both(0), both(1)}, Pace: PaceNeed}
	require.NoError(t, Validate(j, plan))
	_, err := Evaluate(j, plan)
	require.ErrorContains(t, err, "deadlocks")
}

// Memory of slices: activations from forward to backward, gradients of keys and
// values from the last slice's backward to the first's.
func TestMemoryOfSlices(t *testing.T) {
	lengths, plan := slicedPlan([][]int{{10, 20, 30}})
	j := &Job{Lengths: lengths, DP: 1, PP: 1, CP: 1, Context: 30, Cost: linearCost, Footprint: Footprint{Activation: 10, KV: 1}}
	tm, err := Evaluate(j, plan)
	require.NoError(t, err)
	require.InDelta(t, 30+0.1*30, tm.Peak[0], 1e-9, "all slices, and the gradients of all keys and values")

	for i := range 2 { // recompute the first two slices
		plan.Forward[i].Recompute, plan.Backward[2-i].Recompute = true, true
	}
	tm, err = Evaluate(j, plan)
	require.NoError(t, err)
	// In the forward of the last slice: 1 + 1 of the first two's keys and values, and
	// 10; in its backward 3 of gradients more.
	require.InDelta(t, 12+3, tm.Peak[0], 1e-9)
	require.Equal(t, tm.Forward[0]+2*tm.Forward[0], tm.Backward[1], "forward again, then backward")
}

// A unit that is longer never makes the step shorter, nor does a dearer hop.
func TestEvaluateIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		plan, err := ffd{}.Pack(j)
		require.NoError(t, err)
		before, err := Evaluate(j, plan)
		require.NoError(t, err)
		more := *j
		more.Cost.TokenS *= 1.5
		more.Cost.HopS += 1e-6
		after, err := Evaluate(&more, plan)
		require.NoError(t, err)
		require.Greater(t, after.Step, before.Step)
	})
}
