package models

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMegatronMemoryVectors(t *testing.T) {
	vectors := vectorModels(t)
	for i, r := range sharedRows(t, "schedules/megatron_memory.csv") {
		c := MegatronMemory{Seq: r.whole(t, "seq_len"), MicroBatch: r.whole(t, "micro_batch"), Microbatches: r.whole(t, "num_microbatches"),
			TP: r.whole(t, "tp"), PP: r.whole(t, "pp"), DP: r.whole(t, "dp"), EP: r.whole(t, "ep"), ETP: r.whole(t, "etp"),
			DistributedOptimizer: r["distributed_optimizer"] == "1", SequenceParallel: r["sequence_parallel"] == "1",
			Selective: r["recompute"] == "selective", PaddedVocab: r.whole(t, "padded_vocab")}
		if r["vp"] != "" {
			c.VP = r.whole(t, "vp")
		}
		states, activations, err := c.Estimate(vectors[r["model"]])
		require.NoError(t, err)
		const mib, printed = 1 << 20, 0.00005 // four decimals
		require.InDelta(t, r.num(t, "weight_optimizer_MiB"), states/mib, printed, "row %d, %s", i+1, r["model"])
		require.InDelta(t, r.num(t, "activation_MiB"), activations/mib, printed, "row %d, %s", i+1, r["model"])
		require.InDelta(t, r.num(t, "total_MiB"), (states+activations)/mib, 2*printed, "row %d, %s", i+1, r["model"])
	}
}

// TestMegatronMemoryFacts are three rows of what Megatron-LM's script prints, in
// MiB.
func TestMegatronMemoryFacts(t *testing.T) {
	base := MegatronMemory{Seq: 8192, MicroBatch: 1, Microbatches: 16, TP: 1, PP: 1, DP: 8, EP: 1, ETP: 1,
		DistributedOptimizer: true, SequenceParallel: true, Selective: true, PaddedVocab: 128256}
	check := func(name string, c MegatronMemory, states, activations float64) {
		t.Helper()
		m := lookup(t, name)
		s, a, err := c.Estimate(m)
		require.NoError(t, err)
		require.InDelta(t, states, s/(1<<20), 5e-5)
		require.InDelta(t, activations, a/(1<<20), 5e-5)
	}
	check("llama3-8b", base, 57436.9043, 36936.0625)
	plain := base
	plain.TP, plain.DP, plain.ETP, plain.SequenceParallel, plain.Selective = 2, 4, 2, false, false
	plain.DistributedOptimizer = true
	check("llama3-8b", plain, 34463.2852, 24807.3656)
	moe := MegatronMemory{Seq: 4096, MicroBatch: 1, Microbatches: 32, TP: 1, PP: 4, VP: 8, DP: 16, EP: 8, ETP: 1,
		DistributedOptimizer: true, SequenceParallel: true, Selective: true, PaddedVocab: 32000}
	check("mixtral-8x7b", moe, 19133.8660, 17990.1367)
}

func TestMegatronMemoryErrors(t *testing.T) {
	_, _, err := MegatronMemory{}.Estimate(lookup(t, "llama3-8b"))
	require.ErrorContains(t, err, "tp is 0")
	c := MegatronMemory{Seq: 1, MicroBatch: 1, Microbatches: 1, TP: 1, PP: 1, DP: 4, EP: 8, ETP: 1, PaddedVocab: 1}
	_, _, err = c.Estimate(lookup(t, "mixtral-8x7b"))
	require.ErrorContains(t, err, "not a multiple of etp x ep")
}
