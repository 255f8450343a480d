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

// split draws a step of mepipe_svpp with split backwards, weight gradients whole.
func split(t *rapid.T) *lower.Step {
	p := rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
	tp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "tp")
	dp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "dp")
	return step(t, map[string]any{"cluster.gpus": p * tp * dp, "parallel.pp": p, "parallel.tp": tp, "parallel.vp": rapid.SampledFrom([]int64{1, 2}).Draw(t, "v"),
		"training.global_batch": dp * rapid.Int64Range(1, 4).Draw(t, "m"), "schedule.slices": rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "n"),
		"schedule.name": "mepipe_svpp", "schedule.weight_pieces": true, "framework.overlap_p2p": true})
}

// weights are the pieces of each weight gradient of a step.
func weights(s *lower.Step) map[pipeline.Slot][]*lower.Block {
	out := map[pipeline.Slot][]*lower.Block{}
	for id, w := range s.Program.Work {
		if tag := s.Tags[id]; tag.Phase == pipeline.W && tag.Microbatch >= 0 && s.Program.Works[w].Kind == program.Backward {
			slot := pipeline.Slot{Phase: tag.Phase, Stage: tag.Stage, Microbatch: tag.Microbatch, Slice: tag.Slice}
			out[slot] = append(out[slot], lower.Pieces(s.Works[w].Blocks)...)
		}
	}
	return out
}

// A lowered step with weight gradients in pieces takes as long as pipeline.MEPipeCut
// says, holds as much memory on no rank than its passes do, and has the same kernels
// as with whole weight gradients.
func TestPiecesRunAsSimulated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := split(t)
		blocks := weights(whole)
		costs := pipeline.Costs{F: unit.Time(rapid.Int64Range(20, 100).Draw(t, "F")), I: unit.Time(rapid.Int64Range(20, 100).Draw(t, "I")), Comm: unit.Time(rapid.Int64Range(0, 20).Draw(t, "comm"))}
		lengths := rapid.SliceOfN(rapid.Int64Range(0, 9), 5, 5).Draw(t, "pieces")
		times := map[pipeline.Slot][]unit.Time{}
		for slot, bs := range blocks {
			for i := range bs {
				times[slot] = append(times[slot], unit.Time(lengths[i%len(lengths)]))
			}
		}
		p, err := whole.Plan.Cut(costs, func(s pipeline.Slot) []unit.Time { return times[s] })
		require.NoError(t, err)
		s, err := lower.NewStep(p)
		require.NoError(t, err)
		require.NoError(t, s.Program.Check())
		at := map[lower.Tag]int{}
		got, _ := makespanBy(t, s, func(kind program.Kind, tag lower.Tag) unit.Time {
			switch {
			case kind == program.Send:
				return costs.Comm
			case kind != program.Forward && kind != program.Backward:
				return 0
			case tag.Phase == pipeline.W:
				at[tag]++
				return times[pipeline.Slot{Phase: tag.Phase, Stage: tag.Stage, Microbatch: tag.Microbatch, Slice: tag.Slice}][at[tag]-1]
			}
			if at[tag]++; at[tag] > 1 { // a pass that stops for buckets
				return 0
			}
			return map[pipeline.Phase]unit.Time{pipeline.F: costs.F, pipeline.I: costs.I}[tag.Phase]
		})
		want, err := pipeline.MEPipeCut(p.Shape, func(s pipeline.Slot) []unit.Time { return times[s] }, 0, costs)
		require.NoError(t, err)
		require.Equal(t, want.Makespan, got)

		require.Equal(t, len(blocks), len(weights(s)))
		for slot, bs := range weights(s) {
			require.Equal(t, blocks[slot], bs, "%v", slot)
		}
		held := make([]int64, len(s.Lanes))
		for _, e := range s.Program.Mem {
			held[e.Rank] += e.Bytes
		}
		require.Equal(t, make([]int64, len(s.Lanes)), held)
		require.Equal(t, buckets(whole), buckets(s))
	})
}

// buckets counts a step's reductions of gradients by stage.
func buckets(s *lower.Step) map[int32]int {
	out := map[int32]int{}
	for id, w := range s.Program.Work {
		if s.Program.Works[w].Kind == program.GradReduce {
			out[s.Tags[id].Stage]++
		}
	}
	return out
}

// Pieces are the kernels of the blocks in their order, one product each, and wait for
// nothing outside.
func TestPiecesAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := split(t)
		for id, w := range s.Program.Work {
			if s.Tags[id].Phase != pipeline.W || s.Program.Works[w].Kind != program.Backward {
				continue
			}
			var names []string
			for _, u := range s.Works[w].Blocks {
				for range u.Times {
					for _, op := range u.Block.Ops {
						names = append(names, op.Name)
					}
				}
			}
			for _, b := range lower.Pieces(s.Works[w].Blocks) {
				products := 0
				for i, op := range b.Ops {
					require.Equal(t, names[0], op.Name)
					names = names[1:]
					if op.Lane == lower.Compute {
						products++
					}
					for _, a := range op.After {
						require.GreaterOrEqual(t, a, 0)
						require.Less(t, a, i)
					}
				}
				require.LessOrEqual(t, products, 1)
			}
			require.Empty(t, names)
		}
	})
}
