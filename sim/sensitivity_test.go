package sim

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

// sensitive are scenarios that differ in what bounds them: dense and MoE, one
// node and many, prices of their own and derived ones, pairs of passes, FSDP.
var sensitive = []string{"quickstart", "llama3.1-405b-16384-h100", "deepseek-v3-gb200", "llama3-8b-h200-fsdp",
	"qwen3-30b-b200", "deepseek-v3-dualpipev-h800", "long-context/llama-70b-512k-256-slimpipe"}

// The derivative along the critical path is that of the whole simulation: run
// again with a little more of a figure, the step is never shorter than the old
// path says, and as long where the path stays the longest.
func TestSensitivityIsTheDerivative(t *testing.T) {
	for _, name := range sensitive {
		t.Run(name, func(t *testing.T) {
			r := runOf(t, name)
			path := r.Timeline.CriticalPath()
			sum := r.Timeline.End[path[0]] - r.Timeline.Start[path[0]]
			for i := 1; i < len(path); i++ {
				require.Equal(t, r.Timeline.End[path[i-1]], r.Timeline.Start[path[i]], "the chain has a gap")
				sum += r.Timeline.End[path[i]] - r.Timeline.Start[path[i]]
			}
			require.Equal(t, r.Makespan(), sum)
			moved := false
			for _, l := range levers {
				const factor = 1 + leverStep
				more, err := r.pathWith(l, factor)
				require.NoError(t, err)
				again, err := Simulate(context.Background(), r.with(l, factor), Options{NoAdvice: true})
				require.NoError(t, err)
				slope := func(x float64) float64 { return (x/r.Makespan().Seconds() - 1) / leverStep }
				along, rerun := slope(more.Seconds()), slope(again.Makespan().Seconds())
				t.Logf("%-30s along the path %+.6f, rerun %+.6f", l.key, along, rerun)
				require.GreaterOrEqual(t, again.Makespan(), more, l.key)
				require.InDelta(t, rerun, along, 2e-3, l.key)
				moved = moved || along < -0.01
			}
			require.True(t, moved, "nothing has an effect: the test would accept anything")
		})
	}
}

// Orders that are fitted to prices keep their order: with nothing changed, the
// path is as long as the step, and no figure makes it longer.
func TestSensitivityOfFittedOrders(t *testing.T) {
	for schedule, vp := range map[string]string{"zb_auto": "1", "zbv_auto": "2"} {
		res, err := scenarios.Load("quickstart", []string{"parallel.vp=" + vp, "schedule.name=" + schedule, "training.recompute=selective:core_attn+mlp"})
		require.NoError(t, err)
		r, err := Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
		require.NoError(t, err)
		for _, l := range levers {
			same, err := r.pathWith(l, 1)
			require.NoError(t, err)
			require.Equal(t, r.Makespan(), same)
			more, err := r.pathWith(l, 1.01)
			require.NoError(t, err)
			require.LessOrEqual(t, more, same)
		}
	}
}

// More of everything is never slower, the effects of all figures together are
// less than proportional, and the finite change is below the derivative.
func TestSensitivityMakesSense(t *testing.T) {
	for _, name := range sensitive {
		t.Run(name, func(t *testing.T) {
			r := runOf(t, name)
			all, err := r.Sensitivity(context.Background())
			require.NoError(t, err)
			require.Len(t, all, len(levers))
			sum := 0.0
			for _, d := range all {
				require.Positive(t, d.Value, d.Key)
				require.LessOrEqual(t, d.Elasticity, 1e-3, d.Key)
				require.GreaterOrEqual(t, d.Rerun, d.Elasticity-5e-3, d.Key)
				sum += d.Elasticity
			}
			require.GreaterOrEqual(t, sum, -1.0-1e-3)
		})
	}
}

func runOf(t *testing.T, name string) *Run {
	t.Helper()
	res, err := scenarios.Load(name, nil)
	require.NoError(t, err)
	r, err := Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
	require.NoError(t, err)
	return r
}
