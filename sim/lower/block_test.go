package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/cost"
	"orrery/sim/lower"
)

// flops of a step's linear layers and core attention, as its kernels count them.
func flops(s *lower.Step) (linear, core float64) {
	counts := make([]int64, len(s.Works))
	for _, w := range s.Program.Work {
		counts[w]++
	}
	for i, w := range s.Works {
		for _, u := range w.Blocks {
			for _, op := range u.Block.Ops {
				if op.Recompute {
					continue
				}
				n := float64(counts[i] * u.Times)
				switch k := op.Kernel.(type) {
				case cost.GEMM:
					linear += n * k.FLOPs()
				case cost.GroupedGEMM:
					linear += n * k.FLOPs()
				case cost.Attention:
					core += n * k.FLOPs()
				}
			}
		}
	}
	return linear, core
}

// The kernels of all ranks together compute what the model's formula counts:
// Megatron's FLOPs for linear layers and output layer (experts by their tokens,
// routers beside), and 7/6 of them for core attention, whose backward pass
// computes the scores again (2.5 times forward instead of twice).
func TestKernelsComputeTheModelsFLOPs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := rapid.SampledFrom([]string{"llama3-8b", "mixtral-8x7b", "deepseek-v2"}).Draw(t, "model")
		tp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "tp")
		cp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "cp")
		pp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "pp")
		values := map[string]any{"cluster.gpus": int64(8), "parallel.tp": tp, "parallel.cp": cp, "parallel.pp": pp, "model.name": model,
			"parallel.etp": int64(1), "training.global_batch": int64(16), "training.vocab_pad": int64(1)}
		if model == "llama3-8b" {
			delete(values, "parallel.etp")
		}
		if 8%(tp*cp*pp) != 0 {
			t.Skip("does not divide the GPUs")
		}
		s := step(t, values)
		linear, core := flops(s)
		par := s.Plan.Scenario.Parallel
		copies := float64(par.TP * par.CP * par.DP)
		m := s.Plan.Model
		want := m.StepFLOPs(4096, 16, s.Plan.Vocab)
		router := 0.0
		if m.MoE != nil {
			router = 6 * 16 * 4096 * float64(m.Hidden*m.MoE.Experts) * float64(m.Layers-m.MoE.FirstDense)
		}
		replicated := 0.0 // MLA's down-projections run on sequence-parallel tokens: nothing twice
		require.InEpsilon(t, want.Linear+want.Logits+router+replicated, copies*linear, 2e-3)
		tolerance := 1e-3
		if cp > 1 {
			tolerance = 2e-3 // the diagonal is cut differently
		}
		require.InEpsilon(t, want.Core*3.5/3, copies*core, tolerance)
	})
}

// The SMs of dispatch and combine are what the scenario gives them.
func TestDispatchTakesItsSMs(t *testing.T) {
	s := step(t, map[string]any{"cluster.gpus": int64(16), "model.name": "mixtral-8x7b", "parallel.ep": int64(8), "training.global_batch": int64(16),
		"framework.moe_dispatcher": "deepep", "framework.moe_dispatch_sms": int64(24)})
	sent := map[string]int{}
	for _, w := range s.Works {
		for _, u := range w.Blocks {
			for _, op := range u.Block.Ops {
				if e, ok := op.Kernel.(cost.ExpertExchange); ok {
					require.EqualValues(t, 24, e.DefaultSMs(), op.Name)
					sent[op.Name]++
				}
			}
		}
	}
	require.Contains(t, sent, "dispatch")
	require.Contains(t, sent, "combine")
}
