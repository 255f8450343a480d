package models

import "slices"

// Joint intent detection and slot filling over MASSIVE (arXiv:2204.08582): 60
// intents, 55 slots and "Other". Heads are those of the data set's baseline
// (alexa/massive, xlmr_ic_sf.py and examples/): intents by the maximum over
// tokens, slots by token, each one hidden layer of headDim with GELU. That the
// system with consistency regularisation (arXiv:2301.02010) has the same heads is
// assumed.
func slu(hidden, headDim int64, encoder ...Layer) []Layer {
	const intents, slots = 60, 56
	return slices.Concat(encoder, []Layer{
		Dense{In: hidden, Out: headDim, Activation: true, Over: Tokens},
		Dense{In: headDim, Out: slots, Over: Tokens},
		Loss{Classes: slots, Over: Tokens},
		Pool{Width: hidden},
		Dense{In: hidden, Out: headDim, Activation: true, Over: Turns},
		Dense{In: headDim, Out: intents, Over: Turns},
		Loss{Classes: intents, Over: Turns},
	})
}

// xlmr is XLM-R without the pooler of its pre-training: learned positions, one
// token type, post-norm, GELU, biases. Positions count from 2 (fairseq's
// padding index and one).
func xlmr(layers int, hidden, ffn, heads int64) []Layer {
	return slices.Concat(
		[]Layer{Embedding{Vocab: 250002, Width: hidden, Positions: 514, Unused: 2, Types: 1, Norm: "layer"}},
		repeat(layers, Encoder{Hidden: hidden, FFN: ffn, Heads: heads, HeadDim: hidden / heads, Bias: true, Norm: "layer"}))
}

// mt5 is the encoder of an mT5: RMS norms, gated GELU, no biases, relative
// positions, heads of 64 whatever the width.
func mt5(layers int, hidden, ffn, heads int64) []Layer {
	return slices.Concat(
		[]Layer{Embedding{Vocab: 250112, Width: hidden}, RelativeBias{Buckets: 32, Heads: heads}},
		repeat(layers, Encoder{Hidden: hidden, FFN: ffn, Heads: heads, HeadDim: 64, Gated: true, Norm: "rms", Relative: true}),
		[]Layer{Norm{Width: hidden, How: "rms", Over: Tokens}})
}

func init() {
	const xlmrSource = "arXiv:1911.02116, appendix; Hugging Face config.json of xlm-roberta-"
	const mt5Source = "arXiv:2010.11934, table 1; Hugging Face config.json of google/mt5-"
	const heads = "; heads: alexa/massive, examples/"
	register(network("xlm-r-base-slu", "XLM-R base with intent and slot heads", xlmrSource+"base"+heads+"xlmr_base_20220411.yml",
		slu(768, 2048, xlmr(12, 768, 3072, 12)...)...))
	register(network("xlm-r-large-slu", "XLM-R large with intent and slot heads", xlmrSource+"large"+heads+"xlmr_base_20220411.yml (assumed for large)",
		slu(1024, 2048, xlmr(24, 1024, 4096, 16)...)...))
	register(network("mt5-small-slu", "mT5 small encoder with intent and slot heads", mt5Source+"small"+heads+"mt5_base_enc_20220411.yml (assumed for small)",
		slu(512, 1024, mt5(8, 512, 1024, 6)...)...))
	register(network("mt5-base-slu", "mT5 base encoder with intent and slot heads", mt5Source+"base"+heads+"mt5_base_enc_20220411.yml",
		slu(768, 1024, mt5(12, 768, 2048, 12)...)...))
	register(network("mt5-large-slu", "mT5 large encoder with intent and slot heads", mt5Source+"large"+heads+"mt5_base_enc_20220411.yml (assumed for large)",
		slu(1024, 1024, mt5(24, 1024, 2816, 16)...)...))
}
