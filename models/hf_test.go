package models

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hfConfigs are facts of public config.json files, the keys that matter, by the
// catalogue's name of the model.
var hfConfigs = map[string]string{
	"llama3-8b": `{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "hidden_act": "silu", "hidden_size": 4096,
		"intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
		"tie_word_embeddings": false, "vocab_size": 128256}`,
	"mixtral-8x7b": `{"architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
		"num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": null, "vocab_size": 32000}`,
	"qwen3-4b": `{"architectures": ["Qwen3ForCausalLM"], "head_dim": 128, "hidden_size": 2560, "intermediate_size": 9728, "max_window_layers": 36,
		"num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 151936}`,
	"qwen3-30b-a3b": `{"architectures": ["Qwen3MoeForCausalLM"], "decoder_sparse_step": 1, "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144,
		"mlp_only_layers": [], "moe_intermediate_size": 768, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
		"num_hidden_layers": 48, "num_key_value_heads": 4, "vocab_size": 151936}`,
	"deepseek-v3": `{"architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 3, "hidden_size": 7168, "intermediate_size": 18432,
		"kv_lora_rank": 512, "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_routed_experts": 256, "n_shared_experts": 1,
		"num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
		"q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 129280}`,
	"moonlight-16b-a3b": `{"architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 1, "hidden_size": 2048, "intermediate_size": 11264,
		"kv_lora_rank": 512, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 16,
		"num_experts_per_tok": 6, "num_hidden_layers": 27, "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
		"topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 163840}`,
	"glm-4.5-air": `{"architectures": ["Glm4MoeForCausalLM"], "attention_bias": true, "first_k_dense_replace": 1, "head_dim": 128, "hidden_size": 4096,
		"intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 1, "num_attention_heads": 96,
		"num_experts_per_tok": 8, "num_hidden_layers": 46, "num_key_value_heads": 8, "use_qk_norm": false, "vocab_size": 151552}`,
	"gpt-oss-20b": `{"architectures": ["GptOssForCausalLM"], "attention_bias": true, "head_dim": 64, "hidden_size": 2880, "intermediate_size": 2880,
		"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"], "num_attention_heads": 64,
		"num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 8, "num_local_experts": 32, "sliding_window": 128, "vocab_size": 201088}`,
	"llama4-maverick": `{"architectures": ["Llama4ForConditionalGeneration"], "text_config": {"attention_bias": false, "attention_chunk_size": 8192,
		"head_dim": 128, "hidden_size": 5120, "interleave_moe_layer_step": 2, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
		"num_attention_heads": 40, "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 128, "vocab_size": 202048}}`,
	"nemotron4-340b": `{"architectures": ["NemotronForCausalLM"], "attention_bias": false, "hidden_act": "relu2", "hidden_size": 18432,
		"intermediate_size": 73728, "mlp_bias": false, "num_attention_heads": 96, "num_hidden_layers": 96, "num_key_value_heads": 8, "vocab_size": 256000}`,
}

func TestFromHFIsTheCatalogue(t *testing.T) {
	for name, config := range hfConfigs {
		m, err := FromHF([]byte(config))
		require.NoError(t, err, name)
		want := lookup(t, name)
		m.Name, m.Title, m.Source = want.Name, want.Title, want.Source
		if m.MoE != nil && want.MoE.Every == 0 && m.MoE.Every == 1 {
			m.MoE.Every = 0 // two ways to write every layer
		}
		require.Equal(t, want, m, name)
	}
}

// TestFromHFParams: exact totals of models that are not in the catalogue.
func TestFromHFParams(t *testing.T) {
	for config, want := range map[string]int64{
		`{"architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257}`: 124_439_808, // openai-community/gpt2
		`{"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 6144, "intermediate_size": 24576, "num_attention_heads": 64, "num_hidden_layers": 44,
			"tie_word_embeddings": false, "vocab_size": 50432}`: 20_554_567_680, // EleutherAI/gpt-neox-20b
		`{"architectures": ["MPTForCausalLM"], "attn_config": {"alibi": true}, "d_model": 4096, "expansion_ratio": 4, "max_seq_len": 2048,
			"n_heads": 32, "n_layers": 32, "no_bias": true, "vocab_size": 50432}`: 6_649_286_656, // mosaicml/mpt-7b
		`{"architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32,
			"num_key_value_heads": 8, "sliding_window": 4096, "vocab_size": 32000}`: 7_241_732_096, // mistralai/Mistral-7B-v0.1
		`{"architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_hidden_layers": 28,
			"num_key_value_heads": 4, "sliding_window": 131072, "max_window_layers": 28, "use_sliding_window": false, "vocab_size": 152064}`: 7_615_616_512, // Qwen/Qwen2-7B
	} {
		m, err := FromHF([]byte(config))
		require.NoError(t, err)
		require.Equal(t, want, m.Params(), m.Title)
	}
}

func TestFromHFErrors(t *testing.T) {
	llama := hfConfigs["llama3-8b"]
	for _, c := range []struct{ config, want string }{
		{``, "config.json"},
		{`[]`, "config.json"},
		{`{}`, "architectures"},
		{`{"architectures": []}`, "architectures"},
		{`{"architectures": ["BertModel"]}`, `"BertModel" is not known; known are DeepseekV2ForCausalLM`},
		{strings.Replace(llama, `"hidden_size": 4096,`, ``, 1), "key hidden_size is missing"},
		{strings.Replace(llama, `"vocab_size": 128256`, `"vocab_size": "many"`, 1), "key vocab_size is many"},
		{strings.Replace(llama, `32, "num_hidden`, `32.5, "num_hidden`, 1), "key num_attention_heads is 32.5"},
		{strings.Replace(llama, `4096`, `99999999999999999999`, 1), "key hidden_size is 99999999999999999999"},
		{strings.Replace(llama, `4096`, `4097`, 1), "does not divide"},
		{strings.Replace(llama, `"silu"`, `"gelu"`, 1), `hidden_act is "gelu"`},
		{strings.Replace(llama, `"attention_bias": false`, `"attention_bias": true`, 1), "attention_bias and mlp_bias differ"},
		{strings.Replace(llama, `_heads": 8`, `_heads": 5`, 1), "not a multiple of kv_heads"},
		{strings.Replace(hfConfigs["gpt-oss-20b"], `["sliding_attention", "full`, `["full_attention", "full`, 1), "layer_types[0]"},
		{strings.Replace(hfConfigs["llama4-maverick"], `"num_local_experts": 128, `, ``, 1), "key num_local_experts is missing"},
		{`{"architectures": ["MPTForCausalLM"], "d_model": 8, "n_heads": 1, "n_layers": 1, "vocab_size": 9}`, "key attn_config is missing"},
	} {
		_, err := FromHF([]byte(c.config))
		require.ErrorContains(t, err, c.want, c.config)
	}
}

// FuzzFromHF: any bytes give an error or a valid model whose counts are sound.
func FuzzFromHF(f *testing.F) {
	for _, config := range hfConfigs {
		f.Add([]byte(config))
	}
	f.Add([]byte(`{"architectures": ["MPTForCausalLM"], "attn_config": {"alibi": false}, "d_model": 1073741824, "n_heads": 1, "n_layers": 10000, "max_seq_len": 9, "vocab_size": 9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := FromHF(data)
		if err != nil {
			require.Nil(t, m)
			return
		}
		require.NoError(t, m.Validate())
		require.Positive(t, m.Params())
		require.Positive(t, m.ActiveParams())
		require.LessOrEqual(t, m.ActiveParams(), m.Params())
		require.LessOrEqual(t, float64(m.Params()), m.paramsBound())
		require.Positive(t, m.StepFLOPs(4096, 1, m.Vocab).Total())
		for _, a := range m.Activations(0) {
			require.Positive(t, a.BytesPerToken, a.Name)
		}
	})
}
