package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// Without the cost of transfers a lowered step takes as long as its order does under
// the model of pipeline.Simulate, whatever way its messages go.
func TestStepRunsAsSimulated(t *testing.T) {
	compared := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(pipeline.All()).Draw(t, "schedule")
		if _, ok := s.(pipeline.Multimodal); ok {
			t.Skip("TestTowersRunAsSimulated has those")
		}
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		v := rapid.Int64Range(1, 2).Draw(t, "v")
		m := p * rapid.Int64Range(1, 3).Draw(t, "m/p")
		if s.Check(pipeline.Shape{Devices: int(p), Virtual: int(v), Microbatches: int(m)}) != nil {
			t.Skip("refused by the schedule")
		}
		f := unit.Time(rapid.Int64Range(1, 100).Draw(t, "F"))
		b := unit.Time(rapid.Int64Range(1, 200).Draw(t, "B")) // or I, or W
		lowered := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": v, "training.global_batch": m, "schedule.name": s.Name()})
		got := makespan(t, lowered.Program, map[program.Kind]unit.Time{program.Forward: f, program.Backward: b})
		want, err := pipeline.Simulate(s, lowered.Plan.Shape, pipeline.Costs{Vary: func(slot pipeline.Slot) unit.Time {
			if slot.Phase == pipeline.F {
				return f
			}
			return b
		}})
		require.NoError(t, err)
		require.Equal(t, want.Makespan, got)
		compared[s.Name()] = true
	})
	require.Greater(t, len(compared), 5, "%v", compared)
}
