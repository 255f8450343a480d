package sim_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

// Claims of SlimPipe (arXiv:2504.14519) that are relations between runs. What is
// a number of one run is an [[expect]] of its scenario.

func slimPipe(t *testing.T, name string, sets ...string) *sim.Result {
	t.Helper()
	res, err := scenarios.Load("long-context/"+name, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	return run.Result
}

// Activations of a stage fall as 1/p with an overhead of 2(p-1)/(nv), where 1F1B
// keeps those of p microbatches (claim P5; 13B, tp 8, n = 4p, one layer a chunk).
// Logits and gradients of keys come on top: 1.5 %.
func TestSlimPipeActivationsFallWithStages(t *testing.T) {
	held := map[int]float64{}
	for p, v := range map[int]string{2: "20", 4: "10", 8: "5"} {
		n := map[int]string{2: "8", 4: "16", 8: "32"}[p]
		gpus := map[int]string{2: "16", 4: "32", 8: "64"}[p]
		r := slimPipe(t, "llama-13b-128k-128-slimpipe", "training.sequence_length=65536", "training.global_batch=4",
			"training.recompute=none", "schedule.context_exchange=false", "parallel.dp=1", "cluster.gpus="+gpus,
			"parallel.pp="+map[int]string{2: "2", 4: "4", 8: "8"}[p], "parallel.vp="+v, "schedule.slices="+n)
		held[p] = r.MemoryGiBByStage[0].Breakdown["activations"]
	}
	for p, share := range map[int]float64{4: .25938, 8: .13594} {
		require.InEpsilon(t, share/.50625, held[p]/held[2], 0.015, "p = %d", p)
	}
}

// More slices shrink the bubble until kernels get too short: the best number is
// a small multiple of p (claim P6).
func TestSlimPipeSlicesHaveAnOptimum(t *testing.T) {
	best, at := 0.0, 0
	for i, n := range []string{"4", "8", "16", "32", "64"} {
		r := slimPipe(t, "llama-13b-128k-128-slimpipe", "training.sequence_length=262144", "training.global_batch=4",
			"training.recompute=full", "parallel.dp=1", "cluster.gpus=32", "schedule.slices="+n)
		if r.MFU > best {
			best, at = r.MFU, i
		}
	}
	require.Greater(t, at, 0)
	require.Less(t, at, 3)
}

// Without the exchange, stages wait for the slices that see the most keys.
func TestContextExchangePays(t *testing.T) {
	with := slimPipe(t, "llama-70b-512k-256-slimpipe")
	without := slimPipe(t, "llama-70b-512k-256-slimpipe", "schedule.context_exchange=false")
	require.Less(t, with.StepTimeS, 0.97*without.StepTimeS)
	require.Less(t, with.BubbleFraction, 0.5*without.BubbleFraction)
}

// The order of the paper's evaluation: at 512K SlimPipe is faster than the best
// Megatron-LM configuration, and needs less memory.
func TestSlimPipeBeatsMegatronAtLongContexts(t *testing.T) {
	for _, c := range []string{"llama-70b-512k-128", "llama-70b-512k-256", "llama-149b-512k-256", "mixtral-8x22b-512k-256"} {
		slim, megatron := slimPipe(t, c+"-slimpipe"), slimPipe(t, c+"-megatron")
		require.Greater(t, slim.MFU, 1.1*megatron.MFU, c)
	}
	slim, megatron := slimPipe(t, "llama-70b-512k-256-slimpipe"), slimPipe(t, "llama-70b-512k-256-megatron")
	require.Less(t, slim.PeakMemoryGiB, megatron.PeakMemoryGiB)
}

// SlimPipe is faster than the DeepSpeed baseline of its evaluation (ZeRO-3,
// Ulysses over 8 GPUs, full recomputation) in every configuration that fits, and
// runs what does not.
func TestSlimPipeBeatsDeepSpeed(t *testing.T) {
	for _, c := range []string{"llama-13b-128k-128", "llama-70b-64k-128", "llama-70b-128k-128", "llama-70b-64k-256", "llama-70b-128k-256",
		"llama-149b-64k-128", "llama-149b-64k-256", "mixtral-8x7b-64k-128", "mixtral-8x7b-128k-128", "mixtral-8x7b-256k-128",
		"mixtral-8x22b-64k-128", "mixtral-8x22b-128k-128"} {
		slim, deepspeed := slimPipe(t, c+"-slimpipe"), slimPipe(t, c+"-deepspeed")
		require.True(t, deepspeed.Fits, c)
		require.Greater(t, slim.MFU, deepspeed.MFU, c)
	}
	for _, c := range []string{"llama-70b-256k-128", "llama-149b-128k-128", "llama-149b-256k-128", "llama-149b-128k-256", "mixtral-8x22b-256k-128"} {
		require.True(t, slimPipe(t, c+"-slimpipe").Fits, c)
		require.False(t, slimPipe(t, c+"-deepspeed").Fits, c)
	}
}

// The evaluation skips DeepSpeed where a step has fewer sequences than replicas.
func TestDeepSpeedNeedsASequenceEach(t *testing.T) {
	for c, sequences := range map[string]string{"llama-70b-256k-128": "8", "llama-70b-128k-256": "16"} {
		_, err := scenarios.Load("long-context/"+c+"-deepspeed", []string{"training.global_batch=" + sequences})
		require.ErrorContains(t, err, "training.global_batch")
	}
}
