package models

// gptOSS is a gpt-oss: every second layer sees a window of 128, biases on all
// linears (experts and router included), an attention sink per head.
func gptOSS(name, title string, layers, experts int64) Model {
	m := llama(name, title, "arXiv:2508.10925, table 1; Hugging Face config.json of openai/"+name, layers, 2880, 0, 64, 8, 201088)
	m.Attn.HeadDim, m.Attn.Window, m.Attn.WindowEvery, m.Attn.Sinks = 64, 128, 2, true
	m.Bias = true
	m.MoE = &MoE{Experts: experts, TopK: 4, FFN: 2880}
	return m
}

func init() {
	register(gptOSS("gpt-oss-20b", "gpt-oss 20B", 24, 32))
	register(gptOSS("gpt-oss-120b", "gpt-oss 120B", 36, 128))
}
