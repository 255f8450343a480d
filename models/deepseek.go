package models

// deepseek is a DeepSeek: MLA, fine-grained and shared experts, leading dense
// layers, RMSNorm, SwiGLU, untied. MLA's head dims are 128 + 64 and 128 in all.
func deepseek(name, title, source string, layers, hidden, ffn, heads, qLoRA, vocab int64, moe MoE) Model {
	return Model{Name: name, Title: title, Source: source,
		Layers: layers, Hidden: hidden, FFN: ffn, Vocab: vocab,
		Attn: Attention{Heads: heads, KVHeads: heads, HeadDim: 192, QLoRA: qLoRA, KVLoRA: 512, Nope: 128, Rope: 64, VDim: 128},
		MoE:  &moe, Gated: true, Norm: "rms"}
}

func init() {
	register(deepseek("deepseek-v2", "DeepSeek-V2 236B", "arXiv:2405.04434, section 3.1.2; Hugging Face config.json of deepseek-ai/DeepSeek-V2",
		60, 5120, 12288, 128, 1536, 102400, MoE{Experts: 160, TopK: 6, FFN: 1536, SharedFFN: 2 * 1536, FirstDense: 1}))
	register(deepseek("deepseek-v3", "DeepSeek-V3 671B", "arXiv:2412.19437, section 4.2; Hugging Face config.json of deepseek-ai/DeepSeek-V3",
		61, 7168, 18432, 128, 1536, 129280, MoE{Experts: 256, TopK: 8, FFN: 2048, SharedFFN: 2048, FirstDense: 3, RouterBias: true}), "deepseek-r1")
	register(deepseek("moonlight-16b-a3b", "Moonlight 16B-A3B", "Hugging Face config.json of moonshotai/Moonlight-16B-A3B",
		27, 2048, 11264, 16, 0, 163840, MoE{Experts: 64, TopK: 6, FFN: 1408, SharedFFN: 2 * 1408, FirstDense: 1, RouterBias: true}), "moonlight")
}
