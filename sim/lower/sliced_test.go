package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// sliced draws a step of SlimPipe.
func sliced(t *rapid.T, values map[string]any) (s *lower.Step, p, v, m, n int64) {
	p = rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
	v = rapid.SampledFrom([]int64{1, 2}).Draw(t, "v")
	m = rapid.Int64Range(3, 5).Draw(t, "m")
	n = p * rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "n/p")
	cp, _ := values["parallel.cp"].(int64)
	all := map[string]any{"parallel.pp": p, "parallel.vp": v, "training.global_batch": m,
		"schedule.name": "slimpipe", "schedule.slices": n}
	for k, x := range values {
		all[k] = x
	}
	all["cluster.gpus"] = p * max(cp, 1)
	return step(t, all), p, v, m, n
}

// T = (mnv + p - 1)(f + b) of a slice and chunk (claim S1 of SlimPipe's artifact).
func TestSlimPipeClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, p, v, m, n := sliced(t, nil)
		f, b := unit.Time(rapid.Int64Range(1, 100).Draw(t, "F")), unit.Time(rapid.Int64Range(1, 100).Draw(t, "B"))
		got := makespan(t, s.Program, map[program.Kind]unit.Time{program.Forward: f, program.Backward: b})
		require.Equal(t, unit.Time(m*n*v+p-1)*(f+b), got)
	})
}

// With context exchange and the output layer cut over the stages: every slice
// passes every layer once in each direction, every rank has its share of every
// slice of the output layer, attention covers each causal pair once, and memory
// returns to where it was.
func TestSlicedStepIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "cp")
		exchange, vocab := rapid.Bool().Draw(t, "exchange"), rapid.Bool().Draw(t, "vocab")
		s, p, _, m, n := sliced(t, map[string]any{"schedule.context_exchange": exchange, "schedule.vocab_parallel": vocab,
			"parallel.cp": cp, "parallel.cp_kind": "query"})
		passes := map[lower.Tag]int64{}
		shares, pairs := int64(0), 0.0
		for id, w := range s.Program.Work {
			for _, u := range s.Works[w].Blocks {
				tag := s.Tags[id]
				switch u.Block.Name {
				case "layer forward", "layer backward":
					passes[tag] += u.Times
				case "vocabulary share", "vocabulary share backward":
					shares += u.Times
				}
				if u.Block.Name == "layer forward" {
					pairs += float64(u.Times) * attentionPairs(u.Block)
				}
			}
		}
		want := 0
		for i, stage := range s.Plan.Stages {
			for tag, layers := range passes {
				if int(tag.Stage) == i {
					require.Equal(t, stage.Layers, layers, "%+v", tag)
				}
			}
			want += int(2 * m * n)
		}
		require.Len(t, passes, want)
		if vocab {
			require.Equal(t, 2*p*m*n, shares)
		} else {
			require.Zero(t, shares)
		}
		// cp ranks share the pairs: all with earlier slices, half of those within the
		// slice; a token sees itself, which halves of chunks round away
		seq := float64(s.Plan.Scenario.Training.SequenceLength)
		whole := float64(m*s.Plan.Model.Layers) * seq * (seq + 1) / 2 / float64(cp)
		require.InEpsilon(t, whole, pairs, 0.01)
		var sum int64
		for _, e := range s.Program.Mem {
			sum += e.Bytes
		}
		require.Zero(t, sum)
	})
}

func attentionPairs(b *lower.Block) float64 {
	sum := 0.0
	for _, op := range b.Ops {
		if k, ok := op.Kernel.(interface{ Pairs() float64 }); ok {
			sum += k.Pairs()
		}
	}
	return sum
}

// Offloading moves out what it brings back, once each, and memory returns to
// where it was.
func TestOffload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.1, 1).Draw(t, "share")
		s, _, _, _, _ := sliced(t, map[string]any{"schedule.offload": share})
		copies := map[string]int64{}
		var sum int64
		for id, w := range s.Program.Work {
			if s.Program.Works[w].Kind == program.Offload {
				copies[s.Program.Lanes[s.Program.Lane[id]].Name]++
			}
		}
		require.Positive(t, copies["copy out"])
		require.Equal(t, copies["copy out"], copies["copy in"])
		for _, e := range s.Program.Mem {
			sum += e.Bytes
		}
		require.Zero(t, sum)
	})
}
