package models

// qwen3 is a Qwen3: GQA with heads of 128 and normed queries and keys, RMSNorm,
// SwiGLU, no biases.
func qwen3(name, title string, layers, hidden, ffn, heads, kvHeads int64) Model {
	m := llama(name, title, "arXiv:2505.09388, tables 1 and 2; Hugging Face config.json of Qwen/"+title, layers, hidden, ffn, heads, kvHeads, 151936)
	m.Attn.HeadDim, m.QKNorm = 128, true
	return m
}

func tied(m Model) Model {
	m.Tied = true
	return m
}

func init() {
	register(tied(qwen3("qwen3-0.6b", "Qwen3-0.6B", 28, 1024, 3072, 16, 8)))
	register(tied(qwen3("qwen3-1.7b", "Qwen3-1.7B", 28, 2048, 6144, 16, 8)))
	register(tied(qwen3("qwen3-4b", "Qwen3-4B", 36, 2560, 9728, 32, 8)))
	register(qwen3("qwen3-8b", "Qwen3-8B", 36, 4096, 12288, 32, 8))
	register(qwen3("qwen3-14b", "Qwen3-14B", 40, 5120, 17408, 40, 8))
	register(qwen3("qwen3-32b", "Qwen3-32B", 64, 5120, 25600, 64, 8))

	moe := qwen3("qwen3-30b-a3b", "Qwen3-30B-A3B", 48, 2048, 0, 32, 4)
	moe.MoE = &MoE{Experts: 128, TopK: 8, FFN: 768}
	register(moe)
	moe = qwen3("qwen3-235b-a22b", "Qwen3-235B-A22B", 94, 4096, 0, 64, 4)
	moe.MoE = &MoE{Experts: 128, TopK: 8, FFN: 1536}
	register(moe)
}
