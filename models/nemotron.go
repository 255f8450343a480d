package models

// nemotron is a Nemotron: layer norms with bias ("1p"), squared ReLU (two
// matrices), MLP of 4 x hidden, RoPE, no biases on linears, untied.
func nemotron(name, title, source string, layers, hidden, heads, kvHeads int64) Model {
	return Model{Name: name, Title: title, Source: source,
		Layers: layers, Hidden: hidden, FFN: 4 * hidden, Vocab: 256000,
		Attn: Attention{Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads},
		Norm: "layer"}
}

func init() {
	register(nemotron("nemotron4-15b", "Nemotron-4 15B", "arXiv:2402.16819, table 1", 32, 6144, 48, 8), "nemotron-15b")
	register(nemotron("nemotron4-340b", "Nemotron-4 340B", "arXiv:2406.11704, table 1", 96, 18432, 96, 8), "nemotron-340b")
	register(nemotron("nemotron-22b", "Nemotron-3 22B", "NVIDIA NeMo recipe nemotron3_22b", 40, 6144, 48, 48), "nemotron3-22b")
}
