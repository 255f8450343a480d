package models

func init() {
	// Tokens are frames after the two convolutions, 50 a second; the convolutions
	// themselves, 0.3 % of the FLOPs, count as one linear layer of their output's width.
	registerTower(Tower{Name: "whisper-large-v3", Title: "Whisper large-v3 encoder", Source: "arXiv:2212.04356, table 1; Hugging Face config.json of openai/whisper-large-v3",
		In: 3 * 128 * 2, Merge: 2, Connector: 0, Streams: 1,
		Body: Model{Layers: 32, Hidden: 1280, FFN: 5120, Norm: "layer", Bias: true, Attn: Attention{Heads: 20, KVHeads: 20, HeadDim: 64}}})
}
