package models

// gpt is a GPT of Megatron's default shape: layer norms and biases, GELU, MLP of
// 4 x hidden, learned positions, tied output layer.
func gpt(name, title, source string, layers, hidden, heads, vocab, positions int64) Model {
	return Model{Name: name, Title: title, Source: source,
		Layers: layers, Hidden: hidden, FFN: 4 * hidden, Vocab: vocab,
		Attn: Attention{Heads: heads, KVHeads: heads, HeadDim: hidden / heads},
		Norm: "layer", Bias: true, Tied: true, Positions: positions}
}

func init() {
	const nemo = "NVIDIA NeMo and dgxc-benchmarking recipe of that name; "
	register(gpt("gpt3-5b", "GPT-3 5B", nemo+"24 layers of 4096", 24, 4096, 32, 51200, 2048))
	register(gpt("gpt3-20b", "GPT-3 20B", nemo+"44 layers of 6144", 44, 6144, 48, 51200, 2048))
	register(gpt("gpt3-175b", "GPT-3 175B", "arXiv:2005.14165, table 2.1; GPT-2's vocabulary", 96, 12288, 96, 50257, 2048), "gpt-175b")

	const korthikanti = "arXiv:2205.05198, table 3"
	register(gpt("gpt-22b", "GPT 22B", korthikanti, 48, 6144, 64, 51200, 2048))
	register(gpt("mt-nlg-530b", "Megatron-Turing NLG 530B", korthikanti+"; arXiv:2201.11990", 105, 20480, 128, 51200, 2048))
	register(gpt("megatron-1t", "Megatron GPT 1T", korthikanti, 128, 25600, 160, 51200, 2048), "gpt-1t")

	// Its vocabulary is what the experiment varies: 32000, 64000, 128000, 256000.
	vp := gpt("gpt-4b-vp", "GPT 4B of Vocabulary Parallelism", "arXiv:2411.05288; sail-sg/VocabularyParallelism, artifact/exp_one_host.csv", 32, 3072, 24, 32000, 4096)
	vp.Tied = false
	register(vp)

	const functional = "NVIDIA/Megatron-LM, tests/functional_tests/test_cases/gpt/"
	g7 := gpt("gpt3_7b", "GPT 7B of Megatron-LM's functional tests", functional+"gpt3_7b_tp1_pp4_memory_speed", 32, 4096, 32, 131073, 8192)
	g7.Attn.KVHeads, g7.Tied = 8, false
	register(g7)
	g15 := nemotron("gpt3_15b_8t_release", "GPT 15B of Megatron-LM's functional tests", functional+"gpt3_15b_8t_release", 32, 6144, 48, 8)
	register(g15, "gpt3_15b_8t_release_sm", "gpt3_15b_8t_release_sm_gb200")
}
