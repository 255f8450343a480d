package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// A plan fitted to costs keeps its stages, holds no more than its limit by the
// schedule's count, and its lowered step takes as long as the order under the model
// of pipeline.Simulate; memory returns to zero, and peaks where the plan says.
func TestFittedStepsRunAsSimulated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		auto := rapid.SampledFrom(pipeline.Autos()).Draw(t, "schedule")
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		v := int64(1)
		if auto.Check(pipeline.Shape{Devices: int(p), Virtual: 1, Microbatches: 1}) != nil {
			v = 2
		}
		costs := pipeline.Costs{
			F:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "F")),
			I:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "I")),
			W:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "W")),
			Comm: unit.Time(rapid.Int64Range(0, 20).Draw(t, "comm")),
		}
		limit := float64(rapid.Int64Range(p, 2*p).Draw(t, "limit"))
		draft := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": v, "schedule.name": auto.Name(),
			"training.global_batch": rapid.Int64Range(1, 3*p).Draw(t, "m"), "framework.overlap_p2p": true})
		fitted, err := draft.Plan.Fitted(costs, limit)
		require.NoError(t, err)
		require.Equal(t, draft.Plan.Stages, fitted.Stages)
		require.Equal(t, draft.Plan.Held, fitted.Held)
		s, err := lower.NewStep(fitted)
		require.NoError(t, err)
		require.NoError(t, s.Program.Check())
		got, _ := makespanBy(t, s, func(kind program.Kind, tag lower.Tag) unit.Time {
			switch {
			case kind == program.Send:
				return costs.Comm
			case kind != program.Forward && kind != program.Backward:
				return 0
			}
			return map[pipeline.Phase]unit.Time{pipeline.F: costs.F, pipeline.I: costs.I, pipeline.W: costs.W}[tag.Phase]
		})
		want, err := pipeline.Simulate(fitted.Schedule, fitted.Shape, costs)
		require.NoError(t, err)
		require.Equal(t, want.Makespan, got)

		held, peak := make([]int64, p), make([]int64, p)
		for _, e := range s.Program.Mem {
			held[e.Rank] += e.Bytes
			peak[e.Rank] = max(peak[e.Rank], held[e.Rank])
		}
		require.Equal(t, make([]int64, p), held)
		for rank := range peak {
			require.InEpsilon(t, fitted.PeakActivations(rank), peak[rank], 1e-6)
			halves := 0.0
			for _, slot := range fitted.Order[rank] {
				halves += map[pipeline.Phase]float64{pipeline.F: 2, pipeline.I: -1, pipeline.W: -1}[slot.Phase]
				require.LessOrEqual(t, halves, 2*limit*float64(v))
			}
		}
	})
}
