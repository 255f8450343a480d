package lower_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/packing"
	"orrery/schedules/pipeline"
	"orrery/sim/engine"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// packedCost is a model in which a hop takes less than any pass, so that sends, which
// share a lane with those before them, never wait there.
var packedCost = packing.Cost{TokenS: 1e-6, PairS: 1e-10, QueryPairs: 512, Tile: 128, BackToken: 2, BackPair: 3,
	UnitS: 1e-4, UnitBackS: 2e-4, HopS: 5e-5, KVTokenS: 1e-8, FarKVTokenS: 1e-7, QueryKV: 4}

// packed packs and lowers samples of a distribution. Data-parallel communication and
// the optimizer are off, so that a pass is one op.
func packed(t require.TestingT, cost packing.Cost, memoryTokens float64, values map[string]any) *lower.Step {
	all := map[string]any{
		"cluster.gpu": "h100", "model.name": "llama3-8b", "training.sequence_length": int64(16384), "training.precision": "bf16",
		"training.optimizer": "none", "parallel.zero": int64(0), "parallel.cp_kind": "query", "data.distribution": "long_context",
		"framework.overlap_grad_reduce": false, "framework.overlap_param_gather": false, "framework.overlap_p2p": true,
	}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("test", all)
	require.NoError(t, err)
	p, err := plan.New(&res.Scenario)
	require.NoError(t, err)
	require.NoError(t, p.Pack(cost, slices.Repeat([]float64{memoryTokens}, len(p.Stages))))
	s, err := lower.NewStep(p)
	require.NoError(t, err)
	require.NoError(t, s.Program.Check())
	return s
}

// drawPacked draws a small job for any packer.
func drawPacked(t *rapid.T) map[string]any {
	dp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "dp")
	pp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "pp")
	cp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "cp")
	all := packing.All()
	return map[string]any{
		"parallel.dp": dp, "parallel.pp": pp, "parallel.cp": cp, "training.global_batch": dp * 2,
		"data.samples": rapid.Int64Range(1, 40).Draw(t, "samples"),
		"data.seed":    rapid.Int64Range(0, 1000).Draw(t, "seed"),
		"data.packer":  all[rapid.IntRange(0, len(all)-1).Draw(t, "packer")].Name(),
	}
}

// passOf is the pass that an op of a compute lane is, false for others.
func passOf(s *lower.Step, id program.OpID) (p packing.Pass, ok bool) {
	k := s.Program.Works[s.Program.Work[id]].Kind
	return packing.Pass{Backward: k == program.Backward, Unit: int(s.Tags[id].Microbatch)}, k == program.Forward || k == program.Backward
}

// With the times that the packers' model gives units and hops, the lowered step takes
// exactly as long as the model says (packing.Evaluate), whatever the packer.
func TestPackedStepEqualsThePackersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := packed(t, packedCost, 200000, drawPacked(t))
		v := s.Plan.Varlen
		want, err := packing.Evaluate(&v.Job, v.Units)
		require.NoError(t, err)
		dur := make([]unit.Time, len(s.Program.Works))
		for id := range program.OpID(s.Program.Len()) {
			w := s.Program.Work[id]
			switch p, ok := passOf(s, id); {
			case ok && p.Backward:
				dur[w] = want.Backward[p.Unit]
			case ok:
				dur[w] = want.Forward[p.Unit]
			case s.Program.Works[w].Kind == program.Send:
				dur[w] = unit.Seconds(packedCost.HopS)
			}
		}
		var tl timeline.Timeline
		require.NoError(t, engine.Relax(s.Program, dur, &tl))
		last := unit.Time(0)
		for _, e := range tl.End {
			last = max(last, e)
		}
		require.Equal(t, want.Step, last)
	})
}

// Every slice's keys are there: on a rank, the slices of a sample go forward in order
// and backward in reverse, after all of them have gone forward. Units are on every stage
// of their lanes once, and of a unit on several lanes all start together.
func TestPackedOrderIsLegal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := packed(t, packedCost, 200000, drawPacked(t))
		v := s.Plan.Varlen
		pp := int(s.Plan.Scenario.Parallel.PP)
		fold := v.FoldedLanes()
		type place struct {
			rank   int32
			sample int32
		}
		next, back := map[place]int32{}, map[place]int32{}
		ran := map[string]int{}
		for id := range program.OpID(s.Program.Len()) {
			p, ok := passOf(s, id)
			if !ok {
				continue
			}
			rank := s.Program.Lanes[s.Program.Lane[id]].Rank
			u := &v.Units.Forward
			if p.Backward {
				u = &v.Units.Backward
			}
			lane := int(rank) / pp * fold
			require.GreaterOrEqual(t, lane, int((*u)[p.Unit].First))
			require.Less(t, lane, int((*u)[p.Unit].First+(*u)[p.Unit].Width))
			require.Equal(t, int32(int(rank)%pp), s.Tags[id].Stage)
			ran[fmt.Sprint(p, s.Tags[id].Stage)]++
			for _, c := range (*u)[p.Unit].Slices {
				at := place{rank, c.Sample}
				length := int32(v.Job.Lengths[c.Sample])
				if !p.Backward {
					require.Equal(t, next[at], c.X0)
					next[at] = c.X1
					continue
				}
				require.Equal(t, length, next[at], "all slices have gone forward")
				require.Equal(t, length-back[at], c.X1)
				back[at] = length - c.X0
			}
		}
		for k, units := range [2][]packing.Unit{v.Units.Forward, v.Units.Backward} {
			for i := range units {
				for stage := range int32(pp) {
					require.Equal(t, int(units[i].Width)/fold, ran[fmt.Sprint(packing.Pass{Backward: k == 1, Unit: i}, stage)])
				}
			}
		}
	})
}

// What passes take they give back: the memory of every rank is never negative and zero
// at the end, whatever is cut, padded or recomputed.
func TestPackedMemoryReturnsToZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := drawPacked(t)
		values["training.recompute"] = rapid.SampledFrom([]string{"none", "full", "selective:layernorm+mlp"}).Draw(t, "recompute")
		s := packed(t, packedCost, 60000, values)
		held := make([]int64, len(s.Lanes))
		for _, m := range s.Program.Mem {
			held[m.Rank] += m.Bytes
			require.GreaterOrEqual(t, held[m.Rank], int64(0))
		}
		for rank, b := range held {
			require.Zero(t, b, "rank %d", rank)
		}
	})
}

// Gradients wait for the slowest replica: each bucket of a stage is reduced once, after
// the last backwards of all of its lanes, and all parameters are in the buckets.
func TestPackedGradientsWaitForAllReplicas(t *testing.T) {
	s := packed(t, packedCost, 200000, map[string]any{
		"parallel.dp": int64(4), "parallel.pp": int64(2), "training.global_batch": int64(8), "parallel.zero": int64(1), "training.optimizer": "adam",
		"framework.overlap_grad_reduce": true, "framework.overlap_param_gather": true})
	p := s.Program
	lastBackward := map[int32]program.OpID{} // by rank
	gathers := 0
	for id := range program.OpID(p.Len()) {
		if p.Works[p.Work[id]].Kind == program.ParamGather {
			gathers++
		}
		if s.Tags[id].Phase == pipeline.B && p.Works[p.Work[id]].Kind == program.Backward {
			lastBackward[p.Lanes[p.Lane[id]].Rank] = id
		}
	}
	require.Len(t, lastBackward, 8)
	reduces := map[int32]int{}
	lastReduce := map[int32]program.OpID{}
	for id := range program.OpID(p.Len()) {
		if p.Works[p.Work[id]].Kind == program.GradReduce {
			require.Len(t, p.Deps(id), 4, "one of each replica")
			reduces[s.Tags[id].Stage]++
			lastReduce[s.Tags[id].Stage] = id
		}
	}
	require.Len(t, reduces, 2)
	require.Equal(t, gathers, reduces[0]+reduces[1])
	for rank, op := range lastBackward {
		require.Contains(t, p.Deps(lastReduce[rank%2]), op)
	}
}

// A unit too wide for the ranks that exchange experts is an error that names both.
func TestPackedExpertsStayInsideReplicas(t *testing.T) {
	res, err := scenarios.Resolve("test", map[string]any{
		"cluster.gpu": "h100", "model.name": "qwen3-30b-a3b", "training.sequence_length": int64(32768), "training.global_batch": int64(4),
		"parallel.dp": int64(2), "parallel.cp": int64(4), "parallel.ep": int64(4), "parallel.cp_kind": "ring", "data.distribution": "web", "data.packer": "flexsp"})
	require.NoError(t, err)
	p, err := plan.New(&res.Scenario)
	require.NoError(t, err)
	require.ErrorContains(t, p.Pack(packedCost, []float64{200000}), "parallel.ep")
}

// Core attention of all lanes adds up to the pairs of all samples: nothing is lost
// where samples are cut, shared by lanes or exchanged. Tiles round pieces up.
func TestPackedAttentionIsConserved(t *testing.T) {
	for _, packer := range []string{"fixed", "ffd", "dcp", "hybrid_dp", "seq1f1b", "slimpack"} {
		for _, cp := range []int64{1, 4} {
			s := packed(t, packedCost, 200000, map[string]any{"parallel.dp": int64(2), "parallel.cp": cp, "parallel.pp": int64(1),
				"training.sequence_length": int64(131072), "training.global_batch": int64(4), "data.distribution": "uniform", "data.packer": packer})
			got := 0.0
			for id := range program.OpID(s.Program.Len()) {
				w := s.Program.Work[id]
				if s.Program.Works[w].Kind != program.Forward {
					continue
				}
				for _, u := range s.Works[w].Blocks {
					for _, op := range u.Block.Ops {
						if op.Class == lower.Attention {
							got += float64(u.Times) * op.Kernel.FLOPs() * float64(s.Plan.Varlen.FoldedLanes())
						}
					}
				}
			}
			lengths := make([]int64, len(s.Plan.Varlen.Job.Lengths))
			for i, l := range s.Plan.Varlen.Job.Lengths {
				lengths[i] = int64(l)
			}
			want := s.Plan.Model.PackedFLOPs(lengths, 1).Core / 3 // of forward and backward
			require.InDelta(t, 1, got/want, 0.1, "%s, cp %d", packer, cp)
			if packer != "dcp" { // whose slowest lane stands for the others
				require.InDelta(t, 1, got/want, 0.03, "%s, cp %d", packer, cp)
			}
		}
	}
}
