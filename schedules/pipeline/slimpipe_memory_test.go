package pipeline

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Sizes of the models in the artifact (slim.md, section 1.8).
var slimPipeModels = map[string]SlimPipeMemory{
	"70B":   {Layers: 80, Hidden: 8192, FFN: 28672, KV: 1024, Experts: 1, TopK: 1},
	"150B":  {Layers: 96, Hidden: 12288, FFN: 32768, KV: 1024, Experts: 1, TopK: 1},
	"8x7B":  {Layers: 32, Hidden: 4096, FFN: 14336, KV: 1024, Experts: 8, TopK: 2},
	"8x22B": {Layers: 56, Hidden: 6144, FFN: 16384, KV: 1024, Experts: 8, TopK: 2},
}

func gib(bytes float64) float64 { return bytes / (1 << 30) }

// TestSlimPipeMemory holds the model to every column of the artifact's tables to
// 0.01 GiB, bubbles to 0.01 points (claim S7).
func TestSlimPipeMemory(t *testing.T) {
	for _, row := range table(t, filepath.Join(sharedSchedules(t), "slimpipe_memory.csv")) {
		n := func(column string) int64 { return int64(number(t, row, column)) }
		m, ok := slimPipeModels[row["model"]]
		require.True(t, ok, row["model"])
		m.Vocab, m.Seq, m.Recompute = 128256, n("seq"), row["recompute"]
		m.TP, m.CP, m.PP, m.EP, m.DP, m.Virtual, m.Slices = n("tp"), n("cp"), n("pp"), n("ep"), n("dp"), n("virtual"), n("slices")
		m.Microbatches = n("global_batch") / (m.DP * n("micro_batch"))
		b, err := m.Bytes()
		require.NoError(t, err)
		for column, got := range map[string]float64{
			"peak_gib": b.Peak(), "params_grads_gib": b.ParamsAndGrads, "optimizer_gib": b.Optimizer, "activations_gib": b.Activations,
			"logits_gib": b.Output, "recompute_gib": b.Recompute, "kv_cache_gib": b.KVCache, "kv_grad_gib": b.KVGrad,
		} {
			want, err := strconv.ParseFloat(row[column], 64)
			require.NoError(t, err)
			require.InDelta(t, want, gib(got), 0.0101, "%s of %v", column, row)
		}
		want, err := strconv.ParseFloat(row["bubble_pct"], 64)
		require.NoError(t, err)
		require.InDelta(t, want, 100*m.Bubble(), 0.01, "%v", row)
	}
}

// Claims S7, S8 and C2 of SlimPipe's artifact, as slim.md transcribes them.
func TestSlimPipeMemoryClaims(t *testing.T) {
	with := func(model string, seq int64, m SlimPipeMemory) SlimPipeMemory {
		size := slimPipeModels[model]
		m.Layers, m.Hidden, m.FFN, m.KV, m.Experts, m.TopK = size.Layers, size.Hidden, size.FFN, size.KV, size.Experts, size.TopK
		m.Seq, m.Vocab = seq, 128256
		return m
	}
	for _, c := range []struct {
		name                                                   string
		m                                                      SlimPipeMemory
		off, act, pg, opt, out, rec, cache, grad, peak, bubble float64
	}{
		{"70B 512K", with("70B", 524288, SlimPipeMemory{TP: 4, CP: 2, PP: 16, EP: 1, DP: 1, Virtual: 5, Slices: 16, Microbatches: 8, Recompute: "partial+fc1"}),
			0, 29.22, 6.07, 6.07, 1.96, .66, 0, 3.75, 47.72, 2.29},
		{"70B 2048K", with("70B", 2097152, SlimPipeMemory{TP: 4, CP: 4, PP: 16, EP: 1, DP: 1, Virtual: 5, Slices: 64, Microbatches: 4, Recompute: "partial+fc1", Offload: .75}),
			34.46, 12.02, 6.07, 3.03, 3.91, .33, 2.72, 19.88, 47.95, 1.16},
		{"149B 1024K", with("150B", 1048576, SlimPipeMemory{TP: 4, CP: 2, PP: 32, EP: 1, DP: 1, Virtual: 3, Slices: 64, Microbatches: 4, Recompute: "partial+fc1", Offload: .9}),
			43.95, 5.66, 6.50, 6.50, 1.95, .38, 1.97, 17.81, 40.78, 3.88},
		{"8x22B 2058K", with("8x22B", 2107392, SlimPipeMemory{TP: 1, CP: 8, PP: 28, EP: 8, DP: 1, Virtual: 2, Slices: 112, Microbatches: 4, Recompute: "partial+fc1", Offload: .8}),
			25.57, 6.86, 4.52, 7.04, 4.49, .43, 2.48, 16.47, 42.28, 2.93},
	} {
		b, err := c.m.Bytes()
		require.NoError(t, err)
		for i, pair := range [][2]float64{{c.off, b.Offloaded}, {c.act, b.Activations}, {c.pg, b.ParamsAndGrads}, {c.opt, b.Optimizer},
			{c.out, b.Output}, {c.rec, b.Recompute}, {c.cache, b.KVCache}, {c.grad, b.KVGrad}, {c.peak, b.Peak()}} {
			require.InDelta(t, pair[0], gib(pair[1]), 0.0101, "%s, column %d", c.name, i)
		}
		require.InDelta(t, c.bubble, 100*c.m.Bubble(), 0.01, c.name)
	}
	_, err := SlimPipeMemory{Recompute: "selective"}.Bytes()
	require.ErrorContains(t, err, `"selective"`)
}
