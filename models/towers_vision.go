package models

// vit is a vision transformer: patches of 14 x 14 pixels, plain attention. The 2 x 2
// patches that are joined into one token of the LLM go through two linear layers, as
// in Qwen2-VL (arXiv:2409.12191, section 2.1) and most since.
func vit(name, title, source string, layers, hidden, ffn, heads int64) Tower {
	return Tower{Name: name, Title: title, Source: source, In: 3 * 14 * 14, Merge: 4, Connector: hidden, Streams: 1,
		Body: Model{Layers: layers, Hidden: hidden, FFN: ffn, Norm: "layer", Bias: true,
			Attn: Attention{Heads: heads, KVHeads: heads, HeadDim: hidden / heads}}}
}

func init() {
	registerTower(vit("clip-vit-l", "CLIP ViT-L/14", "arXiv:2103.00020, table 20", 24, 1024, 4096, 16))
	registerTower(vit("vit-g", "EVA-CLIP ViT-g/14", "EVA, arXiv:2211.07636, its ViT-g", 40, 1408, 6144, 16))

	so := vit("siglip-so400m", "SigLIP So400m/14", "arXiv:2303.15343; Hugging Face config.json of google/siglip-so400m-patch14-384", 27, 1152, 4304, 16)
	registerTower(so)

	// The 1.3 billion that BigMac's encoder is said to have are taken to be the vision
	// encoder of its authors' models (dots.vlm1: 1.2 billion parameters, 42 layers,
	// RMSNorm, SwiGLU, RoPE) with its connector.
	navit := vit("vit-1.3b", "dots.vlm1 NaViT 1.2B", "Hugging Face configuration of rednote-hilab/dots.ocr, DotsVisionConfig", 42, 1536, 4224, 12)
	navit.Body.Norm, navit.Body.Gated, navit.Body.Bias = "rms", true, false
	registerTower(navit)
}
