package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/engine"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// Chimera where a backward takes twice a forward: T = F(3m + (p-2)(m/p+1)), then the
// gradients of the copies are summed, once and on all ranks together
// (arXiv:2107.06925, section 3.4).
func TestChimeraClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		m := p * rapid.Int64Range(1, 3).Draw(t, "m/p")
		f := unit.Time(rapid.Int64Range(1, 100).Draw(t, "F"))
		sum := unit.Time(rapid.Int64Range(0, 100).Draw(t, "sum"))
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": int64(2), "training.global_batch": m, "schedule.name": "chimera"})
		got := makespan(t, s.Program, map[program.Kind]unit.Time{program.Forward: f, program.Backward: 2 * f, program.GradReduce: sum})
		require.Equal(t, f*unit.Time(3*m+(p-2)*(m/p+1))+sum, got)
	})
}

// Every rank sums the gradients that it updates with the rank opposite, and gathers
// the parameters of both of its stages behind the first forward of each.
func TestCopiesCommunicate(t *testing.T) {
	for _, zero := range []int64{0, 1} {
		const p, dp = 4, 2
		s := step(t, map[string]any{"cluster.gpus": int64(p * dp), "parallel.pp": int64(p), "parallel.vp": int64(2), "parallel.dp": int64(dp),
			"parallel.zero": zero, "training.global_batch": int64(p * dp), "schedule.name": "chimera"})
		summed, gathered := map[int32]int64{}, map[[2]int32]bool{}
		for id, w := range s.Program.Work {
			rank, tag := s.Program.Lanes[s.Program.Lane[id]].Rank, s.Tags[id]
			switch work := s.Program.Works[w]; {
			case work.Name == "sum over copies":
				k := s.Works[w].Blocks[0].Block.Ops[0].Kernel.(cost.Collective)
				require.Equal(t, cost.Group{Ranks: 2, PerDomain: 2}, k.Group)
				require.Zero(t, summed[rank], "summed twice")
				summed[rank] = k.Bytes
			case work.Kind == program.ParamGather && tag.Microbatch >= 0:
				slot := pipeline.Slot{Stage: tag.Stage, Microbatch: tag.Microbatch}
				require.EqualValues(t, rank, s.Plan.Schedule.Device(s.Plan.Shape, slot))
				require.Zero(t, tag.Microbatch%(p/2), "the first of its direction")
				gathered[[2]int32{rank, tag.Stage}] = true
			}
		}
		for r := range int32(p) {
			dense, expert := s.Plan.RankParams(int(r))
			require.EqualValues(t, 4*s.Plan.OptimizerElements(dense, expert), summed[r], "gradients in fp32")
		}
		require.Len(t, gathered, int(zero)*2*p)
	}
}

// Unfolding equal ranks changes no time with copies either.
func TestExpandCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
		dp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "dp")
		tp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "tp")
		s := step(t, map[string]any{"cluster.gpus": p * dp * tp, "parallel.pp": p, "parallel.vp": int64(2), "parallel.dp": dp, "parallel.tp": tp,
			"schedule.name": "chimera", "training.global_batch": 2 * p * dp})
		d := make([]unit.Time, len(s.Program.Works))
		for i := range d {
			d[i] = unit.Time(rapid.Int64Range(0, 1000).Draw(t, "duration"))
		}
		var folded, unfolded timeline.Timeline
		require.NoError(t, engine.Relax(s.Program, d, &folded))
		e := s.Expand()
		require.NoError(t, e.Program.Check())
		require.NoError(t, engine.Relax(e.Program, d, &unfolded))
		for i, f := range e.Folded {
			require.Equal(t, folded.End[f], unfolded.End[i])
		}
	})
}
