package models

func init() {
	m := llama("glm-4.5-air", "GLM-4.5-Air 106B", "arXiv:2508.06471, table 1; Hugging Face config.json of zai-org/GLM-4.5-Air", 46, 4096, 10944, 96, 8, 151552)
	m.Attn.HeadDim, m.QKVBias = 128, true
	m.MoE = &MoE{Experts: 128, TopK: 8, FFN: 1408, SharedFFN: 1408, FirstDense: 1, RouterBias: true}
	register(m)

	// GLM-4.6 and GLM-4.7 are of the same shape.
	m = llama("glm-4.5", "GLM-4.5 355B", "arXiv:2508.06471, table 1; Hugging Face config.json of zai-org/GLM-4.5", 92, 5120, 12288, 96, 8, 151552)
	m.Attn.HeadDim, m.QKVBias, m.QKNorm = 128, true, true
	m.MoE = &MoE{Experts: 160, TopK: 8, FFN: 1536, SharedFFN: 1536, FirstDense: 3, RouterBias: true}
	register(m, "glm-4.6", "glm-4.7")
}
