package models

import "pgregory.net/rapid"

// genModel draws a valid model of any kind.
func genModel(t *rapid.T) *Model {
	small := rapid.Int64Range(1, 8)
	width := func(label string) int64 { return 8 * rapid.Int64Range(1, 512).Draw(t, label) }
	m := &Model{Name: "drawn", Layers: rapid.Int64Range(1, 20).Draw(t, "layers"), Hidden: width("hidden"), FFN: width("ffn"),
		Vocab: rapid.Int64Range(1, 300_000).Draw(t, "vocab"), MTP: rapid.Int64Range(0, 2).Draw(t, "mtp"),
		Positions: rapid.Int64Range(0, 4096).Draw(t, "positions"),
		Gated:     rapid.Bool().Draw(t, "gated"), Tied: rapid.Bool().Draw(t, "tied"),
		Norm: rapid.SampledFrom([]string{"rms", "layer"}).Draw(t, "norm")}
	kv := small.Draw(t, "kv heads")
	m.Attn = Attention{KVHeads: kv, Heads: kv * small.Draw(t, "group"), HeadDim: width("head dim")}
	if rapid.Bool().Draw(t, "mla") {
		m.Attn.QLoRA, m.Attn.KVLoRA = width("q lora")*rapid.Int64Range(0, 1).Draw(t, "q compressed"), width("kv lora")
		m.Attn.Nope, m.Attn.Rope, m.Attn.VDim = width("nope"), width("rope"), width("v dim")
	} else {
		m.Bias, m.QKVBias = rapid.Bool().Draw(t, "bias"), rapid.Bool().Draw(t, "qkv bias")
		m.QKNorm, m.Attn.Sinks = rapid.Bool().Draw(t, "qk norm"), rapid.Bool().Draw(t, "sinks")
	}
	if rapid.Bool().Draw(t, "windowed") {
		m.Attn.Window = rapid.Int64Range(1, 10_000).Draw(t, "window")
		m.Attn.WindowEvery = rapid.Int64Range(0, 3).Draw(t, "window every")
		if m.Attn.WindowEvery <= 1 {
			m.Attn.GlobalEvery = rapid.Int64Range(0, 4).Draw(t, "global every")
		}
	}
	if rapid.Bool().Draw(t, "moe") {
		e := &MoE{Experts: rapid.Int64Range(1, 256).Draw(t, "experts"), FFN: width("expert ffn"),
			SharedFFN: rapid.Int64Range(0, 3).Draw(t, "shared") * 64, RouterBias: rapid.Bool().Draw(t, "router bias"),
			FirstDense: rapid.Int64Range(0, m.Layers).Draw(t, "first dense"), Every: rapid.Int64Range(0, 3).Draw(t, "every"),
			Latent: rapid.Int64Range(0, 2).Draw(t, "latent") * 32}
		e.TopK = rapid.Int64Range(1, e.Experts).Draw(t, "top k")
		m.MoE = e
	}
	return m
}
