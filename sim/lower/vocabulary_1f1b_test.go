package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/engine"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// A lowered step of vocabulary-parallel 1F1B takes as long as the order under the
// timing model of schedules/pipeline, messages and barriers included, holds as many
// microbatches on every rank, and gives all memory back.
func TestVocabularyRunsAsSimulated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		m := rapid.Int64Range(1, 3*p).Draw(t, "m")
		count := rapid.Int64Range(1, 2).Draw(t, "barriers")
		costs := pipeline.Costs{
			F:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "F")),
			I:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "B")),
			Comm: unit.Time(rapid.Int64Range(0, 20).Draw(t, "comm")), // shorter than any pass: a lane is free when the next ends
		}
		share := unit.Time(rapid.Int64Range(20, 100).Draw(t, "S"))
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "training.global_batch": m, "schedule.name": "vocab_1f1b",
			"schedule.barriers": count, "framework.overlap_p2p": true})
		seen := map[lower.Tag]bool{} // one op of each S takes all of its time
		got, _ := makespanBy(t, s, func(kind program.Kind, tag lower.Tag) unit.Time {
			switch {
			case kind == program.Send:
				return costs.Comm
			case kind != program.Forward && kind != program.Backward:
				return 0
			case tag.Phase == pipeline.S && seen[tag]:
				return 0
			case tag.Phase == pipeline.S:
				seen[tag] = true
				return share
			case tag.Phase == pipeline.F:
				return costs.F
			}
			return costs.I
		})
		want, err := pipeline.VocabularyParallel(s.Plan.Shape, int(count), costs, share)
		require.NoError(t, err)
		require.Equal(t, want.Makespan, got)
		require.Len(t, seen, int(p*(m+1)))

		shares, held, peak := make([]int64, p), make([]int64, p), make([]int64, p)
		for _, e := range s.Program.Mem {
			if s.Tags[e.Op].Phase == pipeline.S {
				shares[e.Rank] += e.Bytes
				continue
			}
			held[e.Rank] += e.Bytes
			peak[e.Rank] = max(peak[e.Rank], held[e.Rank])
		}
		require.Equal(t, make([]int64, p), held)
		require.Equal(t, make([]int64, p), shares)
		for d := range peak {
			require.Equal(t, int64(want.Peak[d])*int64(s.Plan.ActivationBytes(d)), peak[d])
		}
	})
}

// makespanBy runs a step with a duration for each op by its kind and tag.
func makespanBy(t require.TestingT, s *lower.Step, of func(program.Kind, lower.Tag) unit.Time) (unit.Time, *timeline.Timeline) {
	p := *s.Program
	p.Work = make([]program.WorkID, s.Program.Len())
	dur := make([]unit.Time, s.Program.Len())
	p.Works = make([]program.Work, s.Program.Len())
	for id, w := range s.Program.Work {
		p.Work[id], p.Works[id] = program.WorkID(id), s.Program.Works[w]
		dur[id] = of(s.Program.Works[w].Kind, s.Tags[id])
	}
	tl := &timeline.Timeline{}
	require.NoError(t, engine.Relax(&p, dur, tl))
	end := unit.Time(0)
	for _, e := range tl.End {
		end = max(end, e)
	}
	return end, tl
}

// All ranks together compute the output layer of each microbatch once: as many FLOPs
// as the last stage alone without vocabulary parallelism, whatever the barriers,
// and hold its parameters once.
func TestVocabularySharesAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
		tp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "tp")
		values := map[string]any{"cluster.gpus": p * tp, "parallel.pp": p, "parallel.tp": tp, "training.global_batch": int64(6), "model.vocab": int64(128000)}
		plain := step(t, values)
		values["schedule.name"], values["schedule.barriers"] = "vocab_1f1b", rapid.Int64Range(1, 2).Draw(t, "barriers")
		cut := step(t, values)
		require.Equal(t, headProducts(plain), headProducts(cut))
		params := func(s *lower.Step) (sum int64) {
			for r := range int(p) {
				dense, _ := s.Plan.RankParams(r)
				sum += dense
			}
			return sum
		}
		require.Equal(t, params(plain), params(cut))
	})
}

// headProducts is the size of the products of the output layer over a step: m x n x k
// by direction.
func headProducts(s *lower.Step) map[string]int64 {
	out := map[string]int64{}
	for _, w := range s.Program.Work {
		for _, u := range s.Works[w].Blocks {
			for _, op := range u.Block.Ops {
				if g, ok := op.Kernel.(cost.GEMM); ok && op.Class == lower.EmbeddingHead {
					out[string(g.Layout)] += g.M * g.N * g.K
				}
			}
		}
	}
	return out
}

// Unfolding equal ranks of vocabulary-parallel 1F1B changes no time.
func TestVocabularyExpands(t *testing.T) {
	s := step(t, map[string]any{"cluster.gpus": int64(8), "parallel.pp": int64(2), "parallel.tp": int64(2), "training.global_batch": int64(8), "schedule.name": "vocab_1f1b"})
	dur := make([]unit.Time, len(s.Program.Works))
	for i := range dur {
		dur[i] = unit.Time(10 + 7*i%13)
	}
	var folded, unfolded timeline.Timeline
	require.NoError(t, engine.Relax(s.Program, dur, &folded))
	e := s.Expand()
	require.NoError(t, e.Program.Check())
	require.NoError(t, engine.Relax(e.Program, dur, &unfolded))
	seen := make([]bool, s.Program.Len())
	for i, f := range e.Folded {
		require.Equal(t, folded.Start[f], unfolded.Start[i])
		seen[f] = true
	}
	require.NotContains(t, seen, false)
}
