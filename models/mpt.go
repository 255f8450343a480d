package models

// mpt is a model of llm-foundry's training benchmark: a GPT with learned
// positions and biases. (The published MPT-7B and MPT-30B have ALiBi and no
// biases.) The benchmark sets as many positions as a sequence has tokens, which
// the parameter counts it reports include: a scenario with another sequence
// length sets positions to it.
func mpt(name, title string, layers, hidden, heads int64) Model {
	return gpt(name, title, "mosaicml/llm-foundry, scripts/train/benchmarking, at 2048 tokens", layers, hidden, heads, 50368, 2048)
}

func init() {
	register(mpt("mpt-350m", "MPT 350M", 24, 1024, 16))
	register(mpt("mpt-760m", "MPT 760M", 24, 1536, 12))
	register(mpt("mpt-1b", "MPT 1B", 24, 2048, 16))
	register(mpt("mpt-3b", "MPT 3B", 32, 2560, 20))
	register(mpt("mpt-7b", "MPT 7B", 32, 4096, 32))
	register(mpt("mpt-13b", "MPT 13B", 40, 5120, 40))
	register(mpt("mpt-30b", "MPT 30B", 48, 7168, 56))
	register(mpt("mpt-70b", "MPT 70B", 80, 8192, 64))
}
