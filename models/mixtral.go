package models

// mixtral is a Mixtral: a Llama whose every MLP is eight experts, two a token.
func mixtral(name, title, source string, layers, hidden, ffn, heads int64) Model {
	m := llama(name, title, source, layers, hidden, 0, heads, 8, 32000)
	m.MoE = &MoE{Experts: 8, TopK: 2, FFN: ffn}
	return m
}

func init() {
	register(mixtral("mixtral-8x7b", "Mixtral 8x7B", "arXiv:2401.04088, table 1", 32, 4096, 14336, 32), "mixtral_8x7b_alltoall")
	register(mixtral("mixtral-8x22b", "Mixtral 8x22B", "Hugging Face config.json of mistral-community/Mixtral-8x22B-v0.1", 56, 6144, 16384, 48))
	m := mixtral("mixtral-8x22b-v32768", "Mixtral 8x22B v0.3", "Hugging Face config.json of mistralai/Mixtral-8x22B-Instruct-v0.1: 32768 tokens", 56, 6144, 16384, 48)
	m.Vocab = 32768
	register(m)
}
