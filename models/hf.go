package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// hfArchitectures reads a config.json by its architecture, as Hugging Face
// transformers' modeling file of that architecture does.
var hfArchitectures = map[string]func(*hfConfig) Model{
	"LlamaForCausalLM":               hfLlama,
	"MistralForCausalLM":             hfMistral,
	"MixtralForCausalLM":             hfMixtral,
	"Qwen2ForCausalLM":               hfQwen2,
	"Qwen3ForCausalLM":               hfQwen3,
	"Qwen3MoeForCausalLM":            hfQwen3MoE,
	"DeepseekV2ForCausalLM":          hfDeepseek,
	"DeepseekV3ForCausalLM":          hfDeepseek,
	"Glm4MoeForCausalLM":             hfGLM4MoE,
	"GptOssForCausalLM":              hfGPTOSS,
	"Llama4ForCausalLM":              hfLlama4,
	"Llama4ForConditionalGeneration": hfLlama4,
	"GPT2LMHeadModel":                hfGPT2,
	"GPTNeoXForCausalLM":             hfGPTNeoX,
	"NemotronForCausalLM":            hfNemotron,
	"MPTForCausalLM":                 hfMPT,
	"MptForCausalLM":                 hfMPT,
}

// FromHF reads the config.json of a Hugging Face model. Of multimodal models it
// takes the text model. MTP modules are left out, as in the catalogue. Errors
// name the key that is missing or that says something not modelled.
func FromHF(data []byte) (*Model, error) {
	c := hfConfig{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // keep large integers whole
	if err := d.Decode(&c.values); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	var arch []string
	for _, a := range c.list("architectures") {
		if s, ok := a.(string); ok {
			arch = append(arch, s)
		}
	}
	if len(arch) == 0 {
		return nil, errors.New("config.json: key architectures is missing or names none")
	}
	read, ok := hfArchitectures[arch[0]]
	if !ok {
		known := slices.Sorted(maps.Keys(hfArchitectures))
		return nil, fmt.Errorf("config.json: architecture %q is not known; known are %s", arch[0], strings.Join(known, ", "))
	}
	m := read(&c)
	m.Name = strings.ToLower(c.text("_name_or_path", c.text("model_type", arch[0])))
	m.Title = arch[0]
	m.Source = "Hugging Face config.json, " + arch[0]
	if err := errors.Join(c.errs...); err != nil {
		return nil, fmt.Errorf("config.json of %s: %w", arch[0], err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("config.json of %s: %w", arch[0], err)
	}
	return &m, nil
}

// hfBase reads what configurations of Llama's lineage share: RMSNorm, SwiGLU,
// RoPE and GQA.
func hfBase(c *hfConfig) Model {
	m := Model{Layers: c.num("num_hidden_layers"), Hidden: c.num("hidden_size"), Vocab: c.num("vocab_size"),
		FFN: c.num("intermediate_size"), Tied: c.flag("tie_word_embeddings", false), Gated: true, Norm: "rms"}
	m.Attn.Heads = c.num("num_attention_heads")
	m.Attn.KVHeads = c.or("num_key_value_heads", m.Attn.Heads)
	m.Attn.HeadDim = c.or("head_dim", c.share("num_attention_heads", m.Hidden, m.Attn.Heads))
	c.mustBe("hidden_act", "silu", "swish")
	return m
}

func hfLlama(c *hfConfig) Model {
	m := hfBase(c)
	m.Bias = c.flag("attention_bias", false)
	if m.Bias != c.flag("mlp_bias", false) {
		c.fail("attention_bias and mlp_bias differ, which is not modelled")
	}
	return m
}

func hfMistral(c *hfConfig) Model {
	m := hfBase(c)
	m.Attn.Window = c.or("sliding_window", 0)
	return m
}

func hfMixtral(c *hfConfig) Model {
	m := hfMistral(c)
	m.MoE = &MoE{Experts: c.num("num_local_experts"), TopK: c.num("num_experts_per_tok"), FFN: m.FFN}
	m.FFN = 0
	return m
}

func hfQwen2(c *hfConfig) Model {
	m := hfBase(c)
	m.QKVBias = true
	if c.flag("use_sliding_window", false) {
		// Layers from max_window_layers on are windowed.
		switch first := c.num("max_window_layers"); {
		case first == 0:
			m.Attn.Window = c.num("sliding_window")
		case first < m.Layers:
			c.fail("max_window_layers is %d: windows in the upper layers only are not modelled", first)
		}
	}
	return m
}

func hfQwen3(c *hfConfig) Model {
	m := hfQwen2(c)
	m.QKVBias, m.QKNorm = false, true
	if c.flag("attention_bias", false) {
		c.fail("attention_bias is true: biases on attention but not on the MLP are not modelled")
	}
	return m
}

func hfQwen3MoE(c *hfConfig) Model {
	m := hfQwen3(c)
	m.MoE = &MoE{Experts: c.num("num_experts"), TopK: c.num("num_experts_per_tok"), FFN: c.num("moe_intermediate_size"),
		Every: c.or("decoder_sparse_step", 1)}
	if len(c.list("mlp_only_layers")) > 0 {
		c.fail("mlp_only_layers is not empty, which is not modelled")
	}
	if m.MoE.Every <= 1 {
		m.FFN, m.MoE.Every = 0, 0
	}
	return m
}

func hfDeepseek(c *hfConfig) Model {
	m := hfBase(c)
	m.Attn.QLoRA, m.Attn.KVLoRA = c.or("q_lora_rank", 0), c.num("kv_lora_rank")
	m.Attn.Nope, m.Attn.Rope, m.Attn.VDim = c.num("qk_nope_head_dim"), c.num("qk_rope_head_dim"), c.num("v_head_dim")
	m.Attn.KVHeads, m.Attn.HeadDim = m.Attn.Heads, m.Attn.Nope+m.Attn.Rope
	m.MoE = c.experts("n_routed_experts")
	m.MoE.RouterBias = c.text("topk_method", "") == "noaux_tc"
	if f := c.or("moe_layer_freq", 1); f != 1 {
		c.fail("moe_layer_freq is %d, only 1 is modelled", f)
	}
	if c.flag("attention_bias", false) {
		c.fail("attention_bias is true, which is not modelled with latent attention")
	}
	return m
}

func hfGLM4MoE(c *hfConfig) Model {
	m := hfBase(c)
	m.QKVBias, m.QKNorm = c.flag("attention_bias", false), c.flag("use_qk_norm", false)
	m.MoE = c.experts("n_routed_experts")
	m.MoE.RouterBias = true
	return m
}

func hfGPTOSS(c *hfConfig) Model {
	m := hfBase(c)
	m.Bias, m.Attn.Sinks = true, true
	m.MoE = &MoE{Experts: c.num("num_local_experts"), TopK: c.num("num_experts_per_tok"), FFN: m.FFN}
	m.FFN = 0
	m.Attn.Window, m.Attn.WindowEvery = c.or("sliding_window", 0), 2
	for i, kind := range c.list("layer_types") {
		if (kind == "sliding_attention") != (i%2 == 0) {
			c.fail("layer_types[%d] is %v: other than alternating windows are not modelled", i, kind)
			break
		}
	}
	return m
}

func hfLlama4(outer *hfConfig) Model {
	c := outer
	if text, ok := outer.values["text_config"].(map[string]any); ok {
		c = &hfConfig{values: text}
	}
	m := hfBase(c)
	expertFFN := m.FFN
	m.MoE = &MoE{Experts: c.num("num_local_experts"), TopK: c.num("num_experts_per_tok"), FFN: expertFFN, SharedFFN: expertFFN,
		Every: c.or("interleave_moe_layer_step", 1)}
	m.FFN = 0
	if m.MoE.Every > 1 {
		m.FFN = c.num("intermediate_size_mlp")
	}
	if c.flag("attention_bias", false) {
		c.fail("attention_bias is true: biases on attention but not on the MLP are not modelled")
	}
	m.Attn.Window = c.or("attention_chunk_size", 0)
	if m.Attn.Window > 0 {
		m.Attn.GlobalEvery = c.or("no_rope_layer_interval", 4)
	}
	if c != outer {
		outer.errs = append(outer.errs, c.errs...)
	}
	return m
}

func hfGPT2(c *hfConfig) Model {
	m := Model{Layers: c.num("n_layer"), Hidden: c.num("n_embd"), Vocab: c.num("vocab_size"), Positions: c.num("n_positions"),
		Norm: "layer", Bias: true, Tied: c.flag("tie_word_embeddings", true)}
	m.FFN = c.or("n_inner", 4*m.Hidden)
	m.Attn.Heads = c.num("n_head")
	m.Attn.KVHeads, m.Attn.HeadDim = m.Attn.Heads, c.share("n_head", m.Hidden, m.Attn.Heads)
	return m
}

func hfGPTNeoX(c *hfConfig) Model {
	m := Model{Layers: c.num("num_hidden_layers"), Hidden: c.num("hidden_size"), Vocab: c.num("vocab_size"),
		FFN: c.num("intermediate_size"), Norm: "layer", Bias: true, Tied: c.flag("tie_word_embeddings", false)}
	if !c.flag("attention_bias", true) {
		c.fail("attention_bias is false: biases on the MLP but not on attention are not modelled")
	}
	m.Attn.Heads = c.num("num_attention_heads")
	m.Attn.KVHeads, m.Attn.HeadDim = m.Attn.Heads, c.share("num_attention_heads", m.Hidden, m.Attn.Heads)
	return m
}

func hfNemotron(c *hfConfig) Model {
	m := Model{Layers: c.num("num_hidden_layers"), Hidden: c.num("hidden_size"), Vocab: c.num("vocab_size"),
		FFN: c.num("intermediate_size"), Norm: "layer", Tied: c.flag("tie_word_embeddings", false)}
	m.Bias = c.flag("attention_bias", false)
	if m.Bias != c.flag("mlp_bias", false) {
		c.fail("attention_bias and mlp_bias differ, which is not modelled")
	}
	c.mustBe("hidden_act", "relu2")
	m.Attn.Heads = c.num("num_attention_heads")
	m.Attn.KVHeads = c.or("num_key_value_heads", m.Attn.Heads)
	m.Attn.HeadDim = c.or("head_dim", c.share("num_attention_heads", m.Hidden, m.Attn.Heads))
	return m
}

func hfMPT(c *hfConfig) Model {
	m := Model{Layers: c.num("n_layers"), Hidden: c.num("d_model"), Vocab: c.num("vocab_size"),
		Norm: "layer", Tied: c.flag("tie_word_embeddings", true)}
	m.FFN = m.Hidden * c.or("expansion_ratio", 4)
	m.Bias = !c.flag("no_bias", true)
	m.PlainNorm = !m.Bias
	m.Attn.Heads = c.num("n_heads")
	m.Attn.KVHeads, m.Attn.HeadDim = m.Attn.Heads, c.share("n_heads", m.Hidden, m.Attn.Heads)
	attn, ok := c.values["attn_config"].(map[string]any)
	if !ok {
		c.fail("key attn_config is missing")
		return m
	}
	a := hfConfig{values: attn}
	m.Attn.KVHeads = a.or("kv_n_heads", m.Attn.Heads)
	if a.flag("qk_ln", false) {
		a.fail("attn_config.qk_ln is true, which is not modelled")
	}
	if attn["alibi"] == nil { // llm-foundry and transformers have other defaults
		a.fail("key attn_config.alibi is missing")
	}
	if !a.flag("alibi", true) && !a.flag("rope", false) {
		m.Positions = c.num("max_seq_len")
	}
	c.errs = append(c.errs, a.errs...)
	return m
}
