package models

func init() {
	// Tokens are frames after the two convolutions, 50 a second. The convolutions, 0.9 %
	// of the FLOPs, count as one linear layer from what a token sees of both: three mel
	// frames of 128 bins twice, for the second has stride 2, and three frames between them.
	registerTower(Tower{Name: "whisper-large-v3", Title: "Whisper large-v3 encoder", Source: "arXiv:2212.04356, table 1; Hugging Face config.json of openai/whisper-large-v3",
		In: 2*3*128 + 3*1280, Merge: 2, Connector: 0, Streams: 1,
		Body: Model{Layers: 32, Hidden: 1280, FFN: 5120, Norm: "layer", Bias: true, Attn: Attention{Heads: 20, KVHeads: 20, HeadDim: 64}}})
}
