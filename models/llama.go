package models

// llama is a dense Llama: RMSNorm, SwiGLU, RoPE, no biases, untied.
func llama(name, title, source string, layers, hidden, ffn, heads, kvHeads, vocab int64) Model {
	return Model{Name: name, Title: title, Source: source,
		Layers: layers, Hidden: hidden, FFN: ffn, Vocab: vocab,
		Attn:  Attention{Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads},
		Gated: true, Norm: "rms"}
}

func init() {
	const llama2 = "Llama 2, arXiv:2307.09288; Hugging Face config.json of meta-llama/Llama-2-"
	register(llama("llama2-7b", "Llama 2 7B", llama2+"7b-hf", 32, 4096, 11008, 32, 32, 32000))
	register(llama("llama2-13b", "Llama 2 13B", llama2+"13b-hf", 40, 5120, 13824, 40, 40, 32000))
	register(llama("llama2-70b", "Llama 2 70B", llama2+"70b-hf", 80, 8192, 28672, 64, 8, 32000))

	const llama3 = "The Llama 3 Herd of Models, arXiv:2407.21783, table 3; Hugging Face config.json of meta-llama/"
	register(llama("llama3-8b", "Llama 3 8B", llama3+"Meta-Llama-3-8B", 32, 4096, 14336, 32, 8, 128256), "llama3.1-8b")
	register(llama("llama3-70b", "Llama 3 70B", llama3+"Meta-Llama-3-70B", 80, 8192, 28672, 64, 8, 128256), "llama3.1-70b")
	register(llama("llama3.1-405b", "Llama 3.1 405B", llama3+"Llama-3.1-405B", 126, 16384, 53248, 128, 8, 128256), "llama3-405b")

	register(llama4("llama4-scout", "Llama 4 Scout 17B-16E", "Scout-17B-16E", 16, 1))
	register(llama4("llama4-maverick", "Llama 4 Maverick 17B-128E", "Maverick-17B-128E", 128, 2))
}

// llama4 is the text model of a Llama 4. Its attention sees chunks of 8192
// tokens in three layers of four, written as a window of that width: alike for
// sequences up to one chunk, up to twice the work beyond. QK norms have no
// weights.
func llama4(name, title, repo string, experts, every int64) Model {
	m := llama(name, title, "Hugging Face config.json of meta-llama/Llama-4-"+repo+", text_config", 48, 5120, 0, 40, 8, 202048)
	if every > 1 {
		m.FFN = 16384
	}
	m.Attn.Window, m.Attn.GlobalEvery = 8192, 4
	m.MoE = &MoE{Experts: experts, TopK: 1, FFN: 8192, SharedFFN: 8192, Every: every}
	return m
}
