package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

// Vocabulary parallelism at 256,000 words (arXiv:2411.05288): the step is about
// half as long as 1F1B's, whose last stage has the output layer; a second barrier
// costs one microbatch's activations on every stage, and saves the products that
// one barrier computes before the softmax is known.
func TestVocabularyParallelismPays(t *testing.T) {
	plain, one, two := simulate(t, "vocabulary/gpt-4b-256k-1f1b", sim.Options{}), simulate(t, "vocabulary/gpt-4b-256k-vocab-2", sim.Options{}), simulate(t, "vocabulary/gpt-4b-256k-vocab-1", sim.Options{})
	require.Greater(t, one.Result.MFU, 2*plain.Result.MFU)
	require.Greater(t, two.Result.MFU, one.Result.MFU)
	require.Less(t, one.Result.PeakMemoryGiB, plain.Result.PeakMemoryGiB)
	for stage, m := range one.Result.MemoryGiBByStage[:7] { // the last has the final norm too
		more := two.Result.MemoryGiBByStage[stage].PeakGiB - m.PeakGiB
		require.InDelta(t, one.Plan.ActivationBytes(stage)/(1<<30), more, 1e-9, "stage %d", stage)
	}
}

// In one node the interlaced pipeline is as fast; stage 0 holds 12 microbatches
// instead of 9, and beside them the logits of one instead of its softmax.
func TestInterlacedPaysInMemory(t *testing.T) {
	one := simulate(t, "vocabulary/gpt-4b-256k-vocab-2", sim.Options{})
	res, err := scenarios.Load("vocabulary/gpt-4b-256k-1f1b", []string{"schedule.name=interlaced_1f1b"})
	require.NoError(t, err)
	together, err := sim.Simulate(t.Context(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	require.InEpsilon(t, one.Result.MFU, together.Result.MFU, 0.05)
	held := func(r *sim.Run) float64 {
		return r.Result.MemoryGiBByStage[0].Breakdown["activations"] * (1 << 30) / r.Plan.ActivationBytes(0)
	}
	require.InDelta(t, 12+together.Plan.LogitsBytes()/together.Plan.ActivationBytes(0), held(together), 0.01)
	require.InDelta(t, 9+float64(one.Plan.VocabKeptBytes())/one.Plan.ActivationBytes(0), held(one), 0.01)
}

// What the expanded program gives is what the folded one gives.
func TestVocabularyParallelismExpands(t *testing.T) {
	res, err := scenarios.Load("vocabulary/gpt-4b-256k-vocab-2", []string{"cluster.gpus=32", "parallel.tp=2", "parallel.dp=2"})
	require.NoError(t, err)
	folded, err := sim.Simulate(t.Context(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	expanded, err := sim.Simulate(t.Context(), &res.Scenario, sim.Options{Expand: true})
	require.NoError(t, err)
	require.Equal(t, folded.Result, expanded.Result)
}
