package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/models"
	"orrery/sim/lower"
	"orrery/sim/program"
)

func listed(t require.TestingT, values map[string]any) *lower.Step {
	all := map[string]any{"framework.preset": "ddp", "cluster.gpus": int64(1), "training.sequence_length": int64(32),
		"training.micro_batch": int64(4), "training.microbatches": int64(1)}
	for k, v := range values {
		all[k] = v
	}
	return step(t, all)
}

// total sums something over the kernels of all works of a kind.
func total(s *lower.Step, kind program.Kind, of func(lower.Op) float64) float64 {
	sum := 0.0
	for w, work := range s.Works {
		if s.Program.Works[w].Kind != kind {
			continue
		}
		for _, u := range work.Blocks {
			for _, op := range u.Block.Ops {
				sum += float64(u.Times) * of(op)
			}
		}
	}
	return sum
}

func opFLOPs(op lower.Op) float64 { return op.Kernel.FLOPs() }
func each(lower.Op) float64       { return 1 }

// genListed draws a catalogue's model and a rectangular batch: dialogues are
// all alike, as sigma 0 has it.
func genListed(t *rapid.T) map[string]any {
	turns := rapid.Int64Range(1, 12).Draw(t, "turns")
	return map[string]any{
		"model.name":               rapid.SampledFrom([]string{"co-gat-dailydialog", "co-gat-mastodon", "xlm-r-base-slu", "mt5-small-slu"}).Draw(t, "model"),
		"training.micro_batch":     rapid.Int64Range(1, 8).Draw(t, "dialogues"),
		"data.utterance_tokens":    float64(rapid.Int64Range(1, 32).Draw(t, "tokens")),
		"data.utterance_sigma":     0.0,
		"data.dialogue_sigma":      0.0,
		"data.longest_dialogue":    turns,
		"data.dialogue_utterances": float64(turns),
	}
}

// The kernels of a forward pass compute what the layers say they do, whether
// dialogues are looped over or batched, and those of a backward pass twice that:
// two and a half times where attention is one kernel, which computes scores again.
func TestListedKernelsDoTheLayersWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genListed(t)
		v["data.by_dialogue"] = rapid.Bool().Draw(t, "by dialogue")
		s := listed(t, v)
		b := s.Plan.Batches[0][0]
		forward := s.Plan.Model.NetFLOPs(b) / 3
		require.InEpsilon(t, forward, total(s, program.Forward, opFLOPs), 1e-9)
		fused := 0.0
		for _, l := range s.Plan.Model.Net {
			if e, ok := l.(models.Encoder); ok && !e.Relative {
				fused += 0.5 * 4 * float64(b.TokenPairs*e.Heads*e.HeadDim)
			}
		}
		require.InEpsilon(t, 2*forward+fused, total(s, program.Backward, opFLOPs), 1e-9)
	})
}

// Consistency regularisation is two passes and what joins them: where both have
// the same shape, twice the kernels of one forward and backward, and some for
// each loss.
func TestConsistencyIsTwoPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genListed(t)
		one := listed(t, v)
		v["data.consistency"] = true
		two := listed(t, v)
		losses := float64(len(one.Plan.Model.Losses()))
		for kind, join := range map[program.Kind]float64{program.Forward: 5, program.Backward: 4} {
			require.InEpsilon(t, 2*total(one, kind, opFLOPs), total(two, kind, opFLOPs), 1e-9)
			again := 0.0 // the second pass back adds its dense embedding gradients to the first's
			if kind == program.Backward {
				again = total(two, kind, func(op lower.Op) float64 {
					if op.Name == "accumulate embedding grad" {
						return 1
					}
					return 0
				})
				require.Positive(t, again)
			}
			require.Equal(t, 2*total(one, kind, each)+join*losses+again, total(two, kind, each))
		}
		require.Equal(t, 2*one.Plan.BatchBytes(0), two.Plan.BatchBytes(0))
	})
}

// Fused kernels launch fewer and compute what they must: no head and no pair of
// nodes has kernels of its own.
func TestFusedGraphLayers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genListed(t)
		eager := listed(t, v)
		v["framework.fused_kernels"] = true
		fused := listed(t, v)
		for _, kind := range []program.Kind{program.Forward, program.Backward} {
			require.Less(t, total(fused, kind, each), total(eager, kind, each))
			require.LessOrEqual(t, total(fused, kind, opFLOPs), total(eager, kind, opFLOPs)*(1+1e-9))
		}
	})
}

// A data-parallel step reduces every gradient once: after the last microbatch,
// behind the pass back through the example, in buckets that hold the model.
func TestListedGradientsAreReducedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genListed(t)
		v["cluster.gpus"] = rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "gpus")
		v["training.microbatches"] = rapid.Int64Range(1, 3).Draw(t, "microbatches")
		v["data.consistency"] = rapid.Bool().Draw(t, "consistency")
		v["framework.overlap_grad_reduce"] = rapid.Bool().Draw(t, "overlap")
		s := listed(t, v)
		bytes, reductions := 0.0, 0
		for _, w := range s.Program.Work {
			if s.Program.Works[w].Kind != program.GradReduce {
				continue
			}
			reductions++
			for _, u := range s.Works[w].Blocks {
				for _, op := range u.Block.Ops {
					bytes += op.Kernel.HBMBytes() / 2
				}
			}
		}
		require.Equal(t, 4*float64(s.Plan.Model.Params()), bytes)
		if v["framework.overlap_grad_reduce"] == false {
			require.Equal(t, 1, reductions)
		}
		held := int64(0)
		for _, e := range s.Program.Mem {
			held += e.Bytes
		}
		require.Zero(t, held, "what forward passes keep, backward passes give back")
	})
}
