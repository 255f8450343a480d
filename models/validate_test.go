package models

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestValidateErrors(t *testing.T) {
	for want, spoil := range map[string]func(*Model){
		"layers is 0":                    func(m *Model) { m.Layers = 0 },
		"hidden is -1":                   func(m *Model) { m.Hidden = -1 },
		`norm is "batch"`:                func(m *Model) { m.Norm = "batch" },
		"without bias is a layer norm":   func(m *Model) { m.PlainNorm = true },
		"heads (32) is not a multiple":   func(m *Model) { m.Attn.KVHeads = 5 },
		"kv_heads is 0":                  func(m *Model) { m.Attn.KVHeads = 0 },
		"head_dim is 0":                  func(m *Model) { m.Attn.HeadDim = 0 },
		"belong to multi-head latent":    func(m *Model) { m.Attn.QLoRA = 8 },
		"v_dim is 0":                     func(m *Model) { m.Attn.KVLoRA = 512; m.Attn.Nope = 64 },
		"not modelled in multi-head":     func(m *Model) { m.Attn.KVLoRA, m.Attn.Nope, m.Attn.VDim, m.Bias = 8, 8, 8, true },
		"top_k (9) is more than experts": func(m *Model) { m.MoE = &MoE{Experts: 8, TopK: 9, FFN: 8} },
		"moe_ffn is 0":                   func(m *Model) { m.MoE = &MoE{Experts: 8, TopK: 1} },
		"first_dense (33) is more than":  func(m *Model) { m.MoE = &MoE{Experts: 8, TopK: 1, FFN: 8, FirstDense: 33} },
		"ffn is 0 but 32 layers":         func(m *Model) { m.FFN = 0 },
		"ffn is 0 but 3 layers":          func(m *Model) { m.FFN, m.MoE = 0, &MoE{Experts: 8, TopK: 1, FFN: 8, FirstDense: 3} },
		"two ways to say":                func(m *Model) { m.Attn.WindowEvery, m.Attn.GlobalEvery = 2, 4 },
		"more than 1e+16 parameters":     func(m *Model) { m.MoE = &MoE{Experts: maxHeads, TopK: 1, FFN: maxWidth} },
	} {
		m := lookup(t, "llama3-8b")
		spoil(m)
		require.ErrorContains(t, m.Validate(), want)
	}
	// All that is wrong is said at once.
	m := &Model{Name: "nothing"}
	err := m.Validate()
	for _, want := range []string{`model "nothing"`, "layers", "hidden", "vocab", "norm", "heads"} {
		require.ErrorContains(t, err, want)
	}
}

func TestParamsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		require.NoError(t, m.Validate())
		sum := m.EmbeddingParams() + m.PositionParams() + m.OutputParams() + m.FinalNormParams() + m.MTP*m.MTPParams()
		for i := range m.Layers {
			l := m.LayerParams(i)
			sum += l.Total()
			require.Equal(t, m.IsMoE(i), l.Experts > 0)
			require.Equal(t, m.IsMoE(i), l.MLP == 0)
			if m.IsMoE(i) {
				require.Equal(t, m.MoE.Experts*m.ExpertParams(), l.Experts)
			}
		}
		require.Equal(t, sum, m.Params(), "the whole is the sum of its layers")
		require.LessOrEqual(t, m.ActiveParams(), m.Params())
		if m.MoE == nil || m.MoE.TopK == m.MoE.Experts {
			require.Equal(t, m.Params(), m.ActiveParams())
		}
		require.LessOrEqual(t, float64(m.Params()), m.paramsBound(), "the bound that keeps counts within 64 bits")

		untied := m.Clone()
		untied.Tied = false
		require.Equal(t, untied.Params(), m.Params()+map[bool]int64{true: m.Vocab * m.Hidden}[m.Tied])
	})
}

func TestWindowLayers(t *testing.T) {
	var seen []int64
	oss := lookup(t, "gpt-oss-20b")
	for i := range int64(4) {
		seen = append(seen, oss.Window(i))
	}
	require.Equal(t, []int64{128, 0, 128, 0}, seen)
	seen = nil
	scout := lookup(t, "llama4-scout")
	for i := range int64(8) {
		seen = append(seen, scout.Window(i))
	}
	require.Equal(t, []int64{8192, 8192, 8192, 0, 8192, 8192, 8192, 0}, seen)
	maverick := lookup(t, "llama4-maverick")
	require.Equal(t, int64(24), maverick.MoELayers())
	require.False(t, maverick.IsMoE(0))
	require.True(t, maverick.IsMoE(1))
}
