package models

func init() {
	register(Model{Name: "grok1-314b", Title: "Grok-1 314B",
		// The released model norms twice more a layer, 0.8 M parameters in all.
		Source: "xai-org/grok-1, run.py, with the two norms a layer of NVIDIA's recipe",
		Layers: 64, Hidden: 6144, Vocab: 131072,
		Attn:  Attention{Heads: 48, KVHeads: 8, HeadDim: 128},
		MoE:   &MoE{Experts: 8, TopK: 2, FFN: 32768},
		Gated: true, Norm: "rms", Tied: true}, "grok-1", "grok1")
}
