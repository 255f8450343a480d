package sim_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

// multimodal runs a scenario of scenarios/multimodal with some keys set.
func multimodal(t *testing.T, name string, opt sim.Options, sets ...string) *sim.Run {
	t.Helper()
	res, err := scenarios.Load("multimodal/"+name, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, opt)
	require.NoError(t, err)
	return run
}

// Claims 30 and 31 of the reconstruction of BigMac (arXiv:2605.25451), in the layouts
// of scenarios/multimodal, over batches of 1 to 16 a GPU: BigMac holds three encoder
// units from the third on; Optimus and unlimited memory hold them all, are not more
// than a tenth faster, and do not fit above a batch of 8; BigMac is 1.08 to 1.9 times
// as fast as the encoder in stages of its own, in the better of two layouts.
func TestBigMacAgainstOthers(t *testing.T) {
	for batch := 1; batch <= 16; batch *= 2 {
		size := fmt.Sprint("training.global_batch=", 128*batch)
		bigmac := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, size).Result
		require.Equal(t, min(batch, 3), bigmac.Modules[0].LiveUnits)
		require.True(t, bigmac.Fits)
		if batch > 3 { // all that differs is how large the largest three units are
			require.InDelta(t, 47, bigmac.PeakMemoryGiB, 2)
		}
		for _, name := range []string{"qwen3-30b-vit-optimus", "qwen3-30b-vit-unlimited-16"} {
			other := multimodal(t, name, sim.Options{}, size).Result
			require.Equal(t, batch, other.Modules[0].LiveUnits)
			require.Equal(t, batch <= 8, other.Fits, "%s at %d", name, batch)
			require.InEpsilon(t, other.StepTimeS, bigmac.StepTimeS, 0.1, "%s at %d", name, batch)
		}
		stages := multimodal(t, "qwen3-30b-vit-megatron", sim.Options{}, size).Result
		eight := multimodal(t, "qwen3-30b-vit-disttrain", sim.Options{}, size).Result
		require.True(t, stages.Fits && eight.Fits)
		speedup := min(stages.StepTimeS, eight.StepTimeS) / bigmac.StepTimeS
		t.Logf("batch %d: %.3f s, %.2f times the better of encoder_stages (%.3f, %.3f)", batch, bigmac.StepTimeS, speedup, stages.StepTimeS, eight.StepTimeS)
		require.GreaterOrEqual(t, speedup, 1.08)
		require.LessOrEqual(t, speedup, 1.9)
	}
}

// The same with a generator: one of its units is held.
func TestBigMacWithGenerator(t *testing.T) {
	for _, batch := range []int{8, 16} {
		size := fmt.Sprint("training.global_batch=", 128*batch)
		bigmac := multimodal(t, "qwen3-30b-vit-mmdit-bigmac", sim.Options{}, size).Result
		stages := multimodal(t, "qwen3-30b-vit-mmdit-disttrain", sim.Options{}, size).Result
		require.Equal(t, "generator", bigmac.Modules[1].Module)
		require.Equal(t, 1, bigmac.Modules[1].LiveUnits)
		require.Equal(t, 3, bigmac.Modules[0].LiveUnits)
		require.True(t, bigmac.Fits && stages.Fits)
		speedup := stages.StepTimeS / bigmac.StepTimeS
		t.Logf("batch %d: %.2f times", batch, speedup)
		require.GreaterOrEqual(t, speedup, 1.08)
		require.LessOrEqual(t, speedup, 1.9)
	}
	// Gathering together waits for the last rank; pulling does not.
	pulled := multimodal(t, "qwen3-30b-vit-mmdit-bigmac", sim.Options{}).Result
	gathered := multimodal(t, "qwen3-30b-vit-mmdit-bigmac", sim.Options{}, "generator.pull=false").Result
	require.Greater(t, gathered.StepTimeS, pulled.StepTimeS)
}

// Every rank of the cluster, simulated one by one, gives what one of each set of equal
// ones gives, with whatever is gathered, pooled or frozen.
func TestTowersUnfold(t *testing.T) {
	for _, sets := range [][]string{
		{},
		{"schedule.name=optimus"},
		{"schedule.name=encoder_stages", "parallel.vp=1"},
		{"schedule.name=encoder_segments"},
		{"encoder.zero=3", "encoder.cp=2"},
		{"encoder.trained=connector", "framework.overlap_param_gather=false"},
		{"parallel.tp=2", "encoder.tp=2", "encoder.cp=1"},
		{"parallel.tp=2"},
	} {
		sets = append(sets, "cluster.gpus=32", "training.global_batch=64")
		folded := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, sets...)
		whole := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{Expand: true}, sets...)
		require.Equal(t, folded.Makespan(), whole.Makespan(), "%v", sets)
		require.Equal(t, folded.Result.PeakMemoryGiB, whole.Result.PeakMemoryGiB, "%v", sets)
		require.Equal(t, folded.Result.Modules, whole.Result.Modules, "%v", sets)
	}
}

// Context parallelism of its own evens out what samples differ by: the largest
// microbatch is nearer to the mean, and the step is not slower for it.
func TestPooledItemsAreEven(t *testing.T) {
	uneven := func(r *sim.Result) float64 {
		m := r.Modules[0]
		return float64(m.MaxTokens) / m.Tokens
	}
	alone := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, "encoder.spread=1").Result
	pooled := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, "encoder.spread=1", "encoder.cp=4").Result
	require.Less(t, uneven(pooled), uneven(alone))
	require.Less(t, pooled.Modules[0].PeakGiB, alone.Modules[0].PeakGiB)
}

// A frozen encoder has no backward pass and keeps nothing; one that is recomputed
// keeps less and takes longer.
func TestTrainedAndRecomputedTowers(t *testing.T) {
	all := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}).Result
	frozen := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, "encoder.trained=none").Result
	connector := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, "encoder.trained=connector").Result
	again := multimodal(t, "qwen3-30b-vit-bigmac", sim.Options{}, "encoder.recompute=true").Result
	e := func(r *sim.Result) sim.ModuleResult { return r.Modules[0] }
	require.Zero(t, e(frozen).BackwardS)
	require.Zero(t, e(frozen).PeakGiB)
	require.Positive(t, e(connector).BackwardS)
	require.Less(t, e(connector).BackwardS, e(all).BackwardS/5)
	require.Less(t, e(connector).UnitGiB, e(all).UnitGiB/5)
	require.Greater(t, e(again).BackwardS, e(all).BackwardS+0.8*e(all).ForwardS)
	require.Less(t, e(again).UnitGiB, e(all).UnitGiB/5)
	require.Less(t, frozen.StepTimeS, all.StepTimeS)
	require.Less(t, all.StepTimeS, again.StepTimeS)
	require.InEpsilon(t, all.ModelTFLOPSPerGPU*all.StepTimeS, again.ModelTFLOPSPerGPU*again.StepTimeS, 1e-9, "the model's FLOPs are the same")
	require.Greater(t, again.HardwareTFLOPSPerGPU*again.StepTimeS, all.HardwareTFLOPSPerGPU*all.StepTimeS)
}
