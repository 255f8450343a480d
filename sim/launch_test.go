package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim"
)

// smallModels lists the scenarios of small models.
func smallModels(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, n := range scenarios.Names() {
		if strings.HasPrefix(n, "nlp/") {
			out = append(out, n)
		}
	}
	require.GreaterOrEqual(t, len(out), 5)
	return out
}

// Every small model says how far it is bound by launches, which CUDA graphs take
// away, and which of its prices lie outside what was measured.
func TestSmallModelsAreBoundByLaunches(t *testing.T) {
	for _, name := range smallModels(t) {
		t.Run(name, func(t *testing.T) {
			eager := simulate(t, name, sim.Options{}, "framework.cuda_graphs=false").Result
			graphs := simulate(t, name, sim.Options{}, "framework.cuda_graphs=true").Result
			l, g := eager.Launching, graphs.Launching
			require.Greater(t, l.BoundFraction, 0.2)
			require.LessOrEqual(t, l.BoundFraction, 1.0)
			require.GreaterOrEqual(t, l.BoundFraction, l.WaitFraction)
			require.InDelta(t, eager.BreakdownS["host"]/eager.StepTimeS, l.WaitFraction, 1e-12)
			require.Contains(t, l.String(), "launch-bound")
			require.NotEmpty(t, l.Changes)

			require.Less(t, g.BoundFraction, l.BoundFraction)
			require.Zero(t, g.WaitFraction)
			require.Equal(t, l.Kernels, g.Kernels)
			require.Equal(t, eager.BreakdownS["host"] > 0, graphs.StepTimeS < eager.StepTimeS)
			offered := false
			for i, c := range l.Changes {
				require.Greater(t, c.Speedup, 1.0)
				if i > 0 {
					require.LessOrEqual(t, c.Speedup, l.Changes[i-1].Speedup)
				}
				if c.Change == "framework.cuda_graphs = true" {
					offered = true
					require.InEpsilon(t, eager.StepTimeS/graphs.StepTimeS, c.Speedup, 1e-9)
				}
			}
			require.Equal(t, graphs.StepTimeS*1.01 < eager.StepTimeS, offered)
			require.Contains(t, strings.Join(eager.Warnings, "\n"), "priced by roofline")
		})
	}
}

// Larger batches spread the same launches over more work.
func TestLaunchBoundFallsWithTheBatch(t *testing.T) {
	for _, name := range smallModels(t) {
		before := 1.1
		first := int64(0)
		for _, batch := range []int{4, 16, 64, 256} {
			r := simulate(t, name, sim.Options{}, "framework.cuda_graphs=false", "data.by_dialogue=false", "data.padding=max", "training.sequence_length=32",
				fmt.Sprint("training.micro_batch=", batch), "training.global_batch=auto", "training.microbatches=1").Result
			l := r.Launching
			require.Less(t, l.BoundFraction, before, "%s, %d sequences", name, batch)
			if first == 0 {
				first = l.Kernels
			}
			require.Equal(t, first, l.Kernels, "%s: a batch launches as many kernels whatever its size", name)
			before = l.BoundFraction
		}
		require.Less(t, before, 0.4, name)
	}
}

// A loop over dialogues launches more for the same work.
func TestLoopingOverDialoguesIsSlower(t *testing.T) {
	for _, name := range []string{"nlp/co-gat-dailydialog", "nlp/co-gat-mastodon"} {
		for _, graphs := range []string{"true", "false"} {
			loop := simulate(t, name, sim.Options{}, "data.by_dialogue=true", "framework.cuda_graphs="+graphs).Result
			batched := simulate(t, name, sim.Options{}, "data.by_dialogue=false", "framework.cuda_graphs="+graphs).Result
			require.Greater(t, loop.Launching.Kernels, 5*batched.Launching.Kernels)
			require.Greater(t, loop.StepTimeS, 2*batched.StepTimeS)
			require.InEpsilon(t, loop.ModelTFLOPSPerGPU*loop.StepTimeS, batched.ModelTFLOPSPerGPU*batched.StepTimeS, 1e-9)
		}
	}
}

// The time of graph attention grows with the square of a dialogue's length, once
// there is enough of it; that of what reads words and rows does not.
func TestGraphAttentionIsQuadratic(t *testing.T) {
	at := func(turns int) map[string]float64 {
		return simulate(t, "nlp/co-gat-dailydialog", sim.Options{}, "data.by_dialogue=false", "framework.cuda_graphs=true", "data.dialogue_sigma=0",
			"data.utterance_tokens=16", "data.utterance_sigma=0", fmt.Sprint("data.dialogue_utterances=", turns), fmt.Sprint("data.longest_dialogue=", turns)).Result.BreakdownS
	}
	long, longer := at(128), at(256)
	require.InDelta(t, 4, longer["graph_attention"]/long["graph_attention"], 0.4)
	for _, class := range []string{"recurrent", "norms_elementwise", "embedding_head"} {
		require.Less(t, longer[class]/long[class], 2.1, class)
	}
}

// Large models are not bound by launches, and nothing is proposed.
func TestLargeModelsAreNot(t *testing.T) {
	l := simulate(t, quickstart, sim.Options{}).Result.Launching
	require.Less(t, l.BoundFraction, 0.05)
	require.Positive(t, l.Kernels)
	require.Empty(t, l.String())
	require.Nil(t, l.Changes)
}

// The step waits for gradients of the whole embedding, which no example touches
// as a whole: eight GPUs reduce 4 bytes for each parameter.
func TestDenseEmbeddingGradientsAreExposed(t *testing.T) {
	eight := simulate(t, "nlp/mmnlu22-xlmr-base-8", sim.Options{}).Result
	require.Greater(t, eight.ExposedCommFraction, 0.05)
	one := simulate(t, "nlp/mmnlu22-xlmr-base", sim.Options{}).Result
	require.Zero(t, one.ExposedCommFraction)
}

// Steps of small models of any shape are whole: rows add up, and simulating every
// rank, whose sequences are those of the slowest, changes nothing.
func TestSmallModelsOfAnyShape(t *testing.T) {
	names := smallModels(t)
	rapid.Check(t, func(rt *rapid.T) {
		turns := rapid.IntRange(1, 20).Draw(rt, "turns")
		tokens := rapid.IntRange(1, 60).Draw(rt, "tokens")
		sets := []string{
			fmt.Sprint("cluster.gpus=", rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(rt, "gpus")),
			fmt.Sprint("training.micro_batch=", rapid.IntRange(1, 9).Draw(rt, "micro batch")),
			fmt.Sprint("training.microbatches=", rapid.IntRange(1, 3).Draw(rt, "microbatches")), "training.global_batch=auto",
			"training.sequence_length=64", fmt.Sprint("data.utterance_tokens=", tokens), fmt.Sprint("data.dialogue_utterances=", turns),
			fmt.Sprint("data.longest_dialogue=", 2*turns), "data.padding=" + rapid.SampledFrom([]string{"longest", "max", "none"}).Draw(rt, "padding"),
			fmt.Sprint("data.consistency=", rapid.Bool().Draw(rt, "consistency")), fmt.Sprint("data.by_dialogue=", rapid.Bool().Draw(rt, "by dialogue")),
			fmt.Sprint("framework.fused_kernels=", rapid.Bool().Draw(rt, "fused")), fmt.Sprint("framework.cuda_graphs=", rapid.Bool().Draw(rt, "graphs")),
			"training.precision=" + rapid.SampledFrom([]string{"bf16", "fp16"}).Draw(rt, "precision"),
			"cluster.gpu=" + rapid.SampledFrom([]string{"h100", "a100", "gb200"}).Draw(rt, "gpu"), "cluster.node=auto",
		}
		name := rapid.SampledFrom(names).Draw(rt, "scenario")
		folded := simulate(t, name, sim.Options{}, sets...).Result
		expanded := simulate(t, name, sim.Options{Expand: true}, sets...).Result
		require.Equal(rt, folded, expanded)
		sum := 0.0
		for _, v := range folded.BreakdownS {
			require.GreaterOrEqual(rt, v, 0.0)
			sum += v
		}
		require.InEpsilon(rt, folded.StepTimeS, sum, 1e-9)
		require.True(rt, folded.Fits)
		require.Positive(rt, folded.ModelTFLOPSPerGPU)
	})
}
