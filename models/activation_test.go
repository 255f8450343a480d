package models

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestActivationVectors(t *testing.T) {
	vectors := vectorModels(t)
	for _, r := range sharedRows(t, "schedules/activation_modern.csv") {
		m := vectors[r["model"]]
		layer := m.Layers - 1
		if r["layer"] == "dense" {
			layer = 0
		}
		require.Equal(t, r["layer"] == "moe", m.IsMoE(layer))
		var want map[string]float64
		require.NoError(t, json.Unmarshal([]byte(r["breakdown"]), &want))
		got := map[string]float64{}
		var attn, mlp, act float64
		for _, a := range m.Activations(layer) {
			got[a.Name] = a.BytesPerToken
			if a.Group == "attn" {
				attn += a.BytesPerToken
			} else {
				mlp += a.BytesPerToken
			}
			if a.Name == "mlp.act_out" {
				act = a.BytesPerToken
			}
		}
		require.Equal(t, want, got, "%s %s", m.Name, r["layer"])
		require.Equal(t, r.num(t, "attn_bytes_per_token"), attn)
		require.Equal(t, r.num(t, "mlp_bytes_per_token"), mlp)
		require.Equal(t, r.num(t, "total_bytes_per_token"), attn+mlp)
		require.Equal(t, r.num(t, "total_if_activation_fn_recomputed"), attn+mlp-act)
		require.Equal(t, r.num(t, "full_recompute_bytes_per_token"), m.FullRecomputeBytes())
	}
}

func kept(parts []ActPart, recompute ...string) float64 {
	sum := 0.0
	for _, a := range parts {
		if !a.FreedBy(recompute) {
			sum += a.BytesPerToken
		}
	}
	return sum
}

// TestActivationFacts: bytes per token and layer, derived by hand from the
// tensors of a layer (Llama 3 8B: 8h + 2q + 4kv + 2q + 4n + 6f).
func TestActivationFacts(t *testing.T) {
	llama := lookup(t, "llama3-8b").Activations(0)
	require.Equal(t, 139_392.0, kept(llama))
	require.Equal(t, 139_392.0-4*4096, kept(llama, "layernorm"))
	require.Equal(t, 139_392.0-6*14336, kept(llama, "mlp"))
	require.Equal(t, 139_392.0-128, kept(llama, "core_attn"))
	require.Equal(t, 139_392.0, kept(llama, "moe", "moe_act", "mla_up_proj"), "it has none of them")

	v3 := lookup(t, "deepseek-v3").Activations(60)
	require.Equal(t, 571_040.0, kept(v3))
	require.Equal(t, 571_040.0-32_768, kept(v3, "moe_act"))
	require.Equal(t, 571_040.0-(2*49_152+32_768), kept(v3, "mla_up_proj"))
	require.Equal(t, 201_344.0+2*14_336, kept(v3, "moe", "moe_act"), "the MoE layer keeps its norm's input and output")
}

func TestActivationInvariants(t *testing.T) {
	all := []string{"core_attn", "attention", "mlp", "fc1", "moe", "moe_act", "layernorm", "mla_up_proj"}
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		layer := rapid.Int64Range(0, m.Layers-1).Draw(t, "layer")
		tp := rapid.Int64Range(1, 64).Draw(t, "tp")
		parts := m.Activations(layer)
		names := map[string]bool{}
		var whole, spRanks, plainRanks float64
		for _, a := range parts {
			require.False(t, names[a.Name], "%s twice", a.Name)
			names[a.Name] = true
			require.Positive(t, a.BytesPerToken, a.Name)
			require.Subset(t, all, a.Recompute)
			whole += a.BytesPerToken
			spRanks += float64(tp) * a.PerRank(tp, 1, true)
			plainRanks += float64(tp) * a.PerRank(tp, 1, false)
			require.Equal(t, a.BytesPerToken, a.PerRank(1, 1, false))
			require.LessOrEqual(t, a.PerRank(tp, 1, true), a.PerRank(tp, tp, true)*(1+1e-12))
		}
		require.InEpsilon(t, whole, spRanks, 1e-12, "with sequence parallelism the ranks hold one copy together")
		require.GreaterOrEqual(t, plainRanks, whole*(1-1e-12))

		// Recomputing more never keeps more, and everything leaves the inputs of the
		// two blocks, one of which is what full recomputation keeps.
		some := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[string]).Draw(t, "recompute")
		require.LessOrEqual(t, kept(parts, some...), kept(parts))
		require.LessOrEqual(t, kept(parts, all...), kept(parts, some...))
		require.Equal(t, 2*m.FullRecomputeBytes(), kept(parts, all...))
	})
}

func TestKorthikantiVectors(t *testing.T) {
	for _, r := range sharedRows(t, "schedules/activation_korthikanti.csv") {
		k := Korthikanti{Seq: r.whole(t, "s"), MicroBatch: r.whole(t, "b"), Hidden: r.whole(t, "h"), Heads: r.whole(t, "a"), TP: r.whole(t, "t")}
		b, err := k.LayerBytes(r["mode"])
		require.NoError(t, err)
		require.Equal(t, r.num(t, "bytes_per_layer_per_rank"), b, "%s %s", r["model"], r["mode"])
		first, err := k.FirstStageBytes(r["mode"], r.whole(t, "L"))
		require.NoError(t, err)
		require.InDelta(t, r.num(t, "first_stage_GiB_L_layers(1F1B p in flight)"), first/(1<<30), 5.1e-4)
		require.InDelta(t, r.num(t, "5as_over_h"), k.CoreAttnRatio(), 5e-4)
		require.Equal(t, r.whole(t, "h"), lookup(t, r["model"]).Hidden)
		require.Equal(t, r.whole(t, "L"), lookup(t, r["model"]).Layers)
	}
}

// TestKorthikantiPaper: section 4.1's example is GPT-3 175B, 5as/h = 80, and
// table 2's rows hold for any shape.
func TestKorthikantiPaper(t *testing.T) {
	gpt3 := Korthikanti{Seq: 2048, MicroBatch: 1, Hidden: 12288, Heads: 96, TP: 8}
	require.Equal(t, 80.0, gpt3.CoreAttnRatio())
	b, err := gpt3.LayerBytes("tp_sp")
	require.NoError(t, err)
	require.Equal(t, 358_612_992.0, b)
	_, err = gpt3.LayerBytes("half")
	require.ErrorContains(t, err, `"half"`)

	rapid.Check(t, func(t *rapid.T) {
		k := Korthikanti{Seq: rapid.Int64Range(1, 1<<20).Draw(t, "s"), MicroBatch: rapid.Int64Range(1, 64).Draw(t, "b"),
			Hidden: rapid.Int64Range(1, 1<<16).Draw(t, "h"), Heads: rapid.Int64Range(1, 512).Draw(t, "a"), TP: rapid.Int64Range(1, 64).Draw(t, "t")}
		mode := func(name string) float64 {
			b, err := k.LayerBytes(name)
			require.NoError(t, err)
			return b
		}
		require.InEpsilon(t, mode("no_parallel"), float64(k.TP)*mode("tp_sp"), 1e-12)
		require.InEpsilon(t, mode("tp")-mode("tp_selective")+1, mode("tp_sp")-mode("tp_sp_selective")+1, 1e-6)
		require.LessOrEqual(t, mode("tp_sp_selective"), mode("tp_selective"))
		require.LessOrEqual(t, mode("tp_selective"), mode("tp"))
	})
}

// TestActivationsAreKorthikantis: for a GPT the fused layer is 34 sbh less what
// dropout masks (1 + 1 h) keep, plus the log-sum-exp: tensor by tensor,
// 2+2+2+2+2+2 attention and 2+2+8+8 MLP.
func TestActivationsAreKorthikantis(t *testing.T) {
	for _, name := range []string{"gpt-22b", "gpt3-175b", "megatron-1t"} {
		m := lookup(t, name)
		k := Korthikanti{Seq: 1, MicroBatch: 1, Hidden: m.Hidden, Heads: m.Attn.Heads, TP: 1}
		want, err := k.LayerBytes("tp_sp_selective")
		require.NoError(t, err)
		lse := 4 * float64(m.Attn.Heads)
		require.Equal(t, want-2*float64(m.Hidden), kept(m.Activations(0))-lse, name)
	}
}
