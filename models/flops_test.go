package models

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFLOPsVectors(t *testing.T) {
	vectors := vectorModels(t)
	for _, r := range sharedRows(t, "schedules/flops.csv") {
		m, s, b, v := vectors[r["model"]], r.whole(t, "seq_len"), r.whole(t, "batch"), r.whole(t, "padded_vocab")
		f := m.StepFLOPs(s, b, v)
		require.InEpsilon(t, r.num(t, "megatron_flops_per_step"), f.Total(), 1e-12, "%s at %d", m.Name, s)
		require.InEpsilon(t, r.num(t, "flops_per_token"), f.Total()/float64(s*b), 1e-6, "%s at %d: seven digits are printed", m.Name, s)
		require.Equal(t, r.whole(t, "6N_active_flops_per_token"), 6*m.ActiveParams(), m.Name)
		require.InDelta(t, r.num(t, "attn_core_share"), f.Core/f.Total(), 5e-7, "%s at %d", m.Name, s)
		q := s / 4
		packed := m.PackedFLOPs([]int64{q, q, q, q}, v)
		require.InEpsilon(t, r.num(t, "packed_4x_quarter_flops"), packed.Total(), 1e-12, "%s at %d", m.Name, s)
	}
}

// TestFLOPsFacts: some rows of Megatron-LM's num_floating_point_operations, one
// sequence.
func TestFLOPsFacts(t *testing.T) {
	for _, c := range []struct {
		model      string
		seq, vocab int64
		want       float64
	}{
		{"llama3-8b", 8192, 128256, 421_645_529_382_912},
		{"gpt3-175b", 2048, 50304, 2_174_733_068_009_472},
		{"mixtral-8x7b", 4096, 32000, 326_477_644_038_144},
		{"deepseek-v3", 4096, 129280, 1_023_230_173_249_536},
		{"glm-4.5-air", 4096, 151552, 370_949_882_904_576},
	} {
		require.InEpsilon(t, c.want, lookup(t, c.model).StepFLOPs(c.seq, 1, c.vocab).Total(), 1e-12, c.model)
	}
}

// TestFLOPsPaper: without the causal mask's discount the count is the closed form
// of arXiv:2205.05198, appendix A, 72BsLh^2(1 + s/6h + V/12hL).
func TestFLOPsPaper(t *testing.T) {
	for _, name := range []string{"gpt-22b", "gpt3-175b", "mt-nlg-530b", "megatron-1t"} {
		m := lookup(t, name)
		const s, b, v = 2048, 4, 51200
		f := m.StepFLOPs(s, b, v)
		h, l := float64(m.Hidden), float64(m.Layers)
		want := 72 * b * s * l * h * h * (1 + s/(6*h) + v/(12*h*l))
		require.InEpsilon(t, want, f.Linear+2*f.Core+f.Logits, 1e-12, name)
	}
}

func TestFLOPsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		lengths := rapid.SliceOfN(rapid.Int64Range(1, 1<<20), 1, 8).Draw(t, "lengths")
		f, hw := m.PackedFLOPs(lengths, m.Vocab), m.HardwareFLOPs(lengths, m.Vocab)
		require.LessOrEqual(t, hw.Core, f.Core, "windows only leave out")
		require.Equal(t, f.Linear, hw.Linear)
		if m.Attn.Window == 0 {
			require.Equal(t, f, hw)
		}
		sum := int64(0)
		var alone float64
		for _, n := range lengths {
			sum += n
			alone += m.StepFLOPs(n, 1, m.Vocab).Total()
		}
		require.InEpsilon(t, f.Total(), alone, 1e-12, "a pack costs what its sequences cost")
		require.LessOrEqual(t, f.Total(), m.StepFLOPs(sum, 1, m.Vocab).Total()*(1+1e-12), "packed sequences do not see each other")

		// Linear layers and logits are 6N but for what no GEMM multiplies: embedding,
		// norms, biases, sinks, the router.
		macs := (f.Linear + f.Logits) / float64(6*sum)
		weights := float64(m.gemmWeights())
		require.InEpsilon(t, weights, macs, 1e-9)
		require.LessOrEqual(t, weights, float64(m.ActiveParams()+m.Vocab*m.Hidden*(1+m.MTP))+megatronNormSlack(m))
	})
}

// megatronNormSlack is what Megatron counts for MLA's latent norms and MTP's
// norms, which are no GEMM.
func megatronNormSlack(m *Model) float64 {
	return float64((m.Layers+m.MTP)*(m.Attn.QLoRA+m.Attn.KVLoRA) + 3*m.Hidden*m.MTP)
}

// gemmWeights counts, from the parameters, the weights that a token is
// multiplied with in Megatron's convention.
func (m *Model) gemmWeights() int64 {
	plain := m.Clone()
	plain.Bias, plain.QKVBias, plain.QKNorm, plain.Attn.Sinks = false, false, false, false
	plain.Norm, plain.PlainNorm = "rms", false
	n := int64(0)
	for i := range m.Layers + m.MTP {
		l := plain.LayerParams(min(i, m.Layers-1))
		n += l.Attn + l.MLP + l.Shared
		if m.IsMoE(min(i, m.Layers-1)) {
			n += m.MoE.TopK*plain.ExpertParams() + 2*m.Hidden*m.MoE.Latent
		}
	}
	return n + m.MTP*(2*m.Hidden*m.Hidden+3*m.Hidden) + m.Vocab*m.Hidden*(1+m.MTP)
}

func TestWindowPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.Int64Range(1, 300).Draw(t, "tokens")
		w := rapid.Int64Range(1, 300).Draw(t, "window")
		exact := int64(0) // query i sees min(i+1, w) keys
		for i := range s {
			exact += min(i+1, w)
		}
		// The continuous count leaves out half a pair per query of the diagonal.
		require.InDelta(t, float64(exact), causalPairs([]int64{s}, w), float64(min(s, w))/2)
	})
}

func TestLoRAFLOPs(t *testing.T) {
	m := lookup(t, "llama2-70b")
	const s = 8192
	full := m.StepFLOPs(s, 1, m.Vocab)
	lora, err := m.LoRAFLOPs([]int64{s}, m.Vocab, LoRA{Rank: 16})
	require.NoError(t, err)
	require.Equal(t, full.Core, lora.Core)
	require.Less(t, lora.Total(), full.Total())
	require.Greater(t, lora.Total(), full.Total()*2/3)

	// By hand: QKV is 8192 to 10240, the output projection 8192 to 8192.
	n, err := m.AdapterParams(0, LoRA{Rank: 16})
	require.NoError(t, err)
	require.Equal(t, int64(16*(8192+10240+8192+8192)), n)
	withMLP, err := m.AdapterParams(0, LoRA{Rank: 16, MLP: true})
	require.NoError(t, err)
	require.Equal(t, int64(16*(8192+2*28672+28672+8192)), withMLP-n)

	_, err = m.LoRAFLOPs([]int64{s}, m.Vocab, LoRA{})
	require.ErrorContains(t, err, "rank")
	_, err = lookup(t, "deepseek-v3").AdapterParams(0, LoRA{Rank: 8})
	require.ErrorContains(t, err, "MLA")
	_, err = lookup(t, "mixtral-8x7b").AdapterParams(0, LoRA{Rank: 8, MLP: true})
	require.ErrorContains(t, err, "experts")
}
