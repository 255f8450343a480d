package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// MEPipe with its weight gradients in pieces: ranks compute as long as with fused
// backwards but wait less, and the first holds what it held. The same scenario gives
// the same.
func TestPiecesFillGaps(t *testing.T) {
	for _, values := range []map[string]any{
		{"parallel.vp": int64(2)}, {"parallel.vp": int64(2), "parallel.tp": int64(2), "cluster.gpus": int64(16)}, {"parallel.vp": int64(4), "schedule.slices": int64(8)},
	} {
		all := map[string]any{"schedule.name": "mepipe_svpp", "schedule.slices": int64(4), "training.sequence_length": int64(32768),
			"training.global_batch": int64(16), "cluster.override.hbm_gib": 300.0}
		for k, v := range values {
			all[k] = v
		}
		fused := autoRun(t, all)
		all["schedule.weight_pieces"] = true
		cut, again := autoRun(t, all), autoRun(t, all)
		require.Equal(t, cut.Result, again.Result)
		require.Less(t, cut.Result.StepTimeS, fused.Result.StepTimeS)
		require.Less(t, cut.Result.BubbleFraction, fused.Result.BubbleFraction)
		first := func(r *Run) float64 { return r.Result.MemoryGiBByStage[0].Breakdown["activations"] }
		require.InEpsilon(t, first(fused), first(cut), 0.05) // which holds the most slices
		busy := func(r *Run) (sum unit.Time) {
			for _, w := range r.Program.Work {
				if k := r.Program.Works[w].Kind; k == program.Forward || k == program.Backward {
					for c, t := range r.prices.works[w].Busy {
						if lower.Class(c) != lower.OptimizerStep {
							sum += t
						}
					}
					sum -= r.prices.works[w].Contended
				}
			}
			return sum
		}
		require.InEpsilon(t, float64(busy(fused)), float64(busy(cut)), 1e-9)
	}
}

// Where pieces run depends on prices, not on sizes alone: other sequences have other
// gaps, with as many pieces.
func TestPiecesFollowPrices(t *testing.T) {
	values := map[string]any{"schedule.name": "mepipe_svpp", "schedule.slices": int64(4), "schedule.weight_pieces": true, "parallel.vp": int64(2), "training.global_batch": int64(16)}
	passes := func(r *Run) (order [][]pipeline.Slot, pieces int) {
		for _, slots := range r.Plan.Order {
			for _, s := range slots {
				if s.Phase == pipeline.W {
					pieces++
				}
			}
		}
		return r.Plan.Order, pieces
	}
	short, n := passes(autoRun(t, values))
	values["training.sequence_length"] = int64(32768)
	long, m := passes(autoRun(t, values))
	require.Equal(t, n, m)
	require.NotEqual(t, short, long)
}
