package models

// mmdit is a multimodal diffusion transformer with two streams in every layer
// (Stable Diffusion 3, arXiv:2403.03206, section 4): normed queries and keys, a
// plain MLP of 4 x hidden, adaLN modulation.
func mmdit(name, title, source string, layers, heads, headDim, in int64) Tower {
	hidden := heads * headDim
	return Tower{Name: name, Title: title, Source: source, In: in, Merge: 1, Streams: 2, Modulated: true, Generator: true,
		Body: Model{Layers: layers, Hidden: hidden, FFN: 4 * hidden, Norm: "rms", Bias: true, QKNorm: true,
			Attn: Attention{Heads: heads, KVHeads: heads, HeadDim: headDim}}}
}

func init() {
	registerTower(mmdit("mmdit-20b", "Qwen-Image MMDiT", "arXiv:2508.02324; Hugging Face config.json of Qwen/Qwen-Image, transformer", 60, 24, 128, 64))
	registerTower(mmdit("sd3.5-large-mmdit", "Stable Diffusion 3.5 Large MMDiT", "Hugging Face config.json of stabilityai/stable-diffusion-3.5-large, transformer", 38, 38, 64, 64))
}
