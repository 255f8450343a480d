package cost_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/calibrate"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

func varlen(docs ...cost.Document) cost.VarlenAttention {
	return cost.VarlenAttention{One: cost.Attention{Heads: 32, KVHeads: 8, HeadDim: 128, DType: unit.BF16}, Docs: &docs}
}

// A kernel of equal documents takes about what a batch of them does; more documents
// never take less time; parts share the work and pay a launch each.
func TestVarlenAttention(t *testing.T) {
	p, err := calibrate.Profile("h100")
	require.NoError(t, err)
	price := func(k cost.Kernel) float64 {
		e, err := p.Price(k)
		require.NoError(t, err)
		require.Positive(t, e.RelErr)
		return e.Time.Seconds()
	}
	rapid.Check(t, func(t *rapid.T) {
		backward := rapid.Bool().Draw(t, "backward")
		n := rapid.Int64Range(1, 64).Draw(t, "n")
		d := cost.Document{Q: 128 * rapid.Int64Range(1, 256).Draw(t, "q"), N: n}
		d.KV = d.Q + 128*rapid.Int64Range(0, 256).Draw(t, "prefix")
		v := varlen(d)
		v.One.Backward = backward
		batch := v.One
		batch.Batch, batch.SeqQ, batch.SeqKV, batch.Causal = n, d.Q, d.KV, true
		got, want := price(v), price(batch)
		if want > 1e-3 && n*v.One.Heads*d.Q/128 >= 8*132 { // eight waves: the batch fills the GPU by itself
			require.InEpsilon(t, want, got, 0.15)
		}
		more := varlen(d, cost.Document{Q: 256, KV: 256, N: 8})
		more.One.Backward = backward
		require.GreaterOrEqual(t, price(more), got)
		half := v
		half.Parts = 2
		require.Less(t, price(half), got)
		require.GreaterOrEqual(t, 2*price(half), got)
		require.InEpsilon(t, v.FLOPs(), 2*half.FLOPs(), 1e-12)
		require.InEpsilon(t, batch.FLOPs(), v.FLOPs(), 1e-12)
	})
}

// Many short documents fill the GPU together: they do not pay for a launch each.
func TestShortDocumentsFillTheGPUTogether(t *testing.T) {
	p, err := calibrate.Profile("h100")
	require.NoError(t, err)
	one, err := p.Price(varlen(cost.Document{Q: 512, KV: 512, N: 1}))
	require.NoError(t, err)
	all, err := p.Price(varlen(cost.Document{Q: 512, KV: 512, N: 64}))
	require.NoError(t, err)
	require.Less(t, all.Time, 32*one.Time)
}

// What makes no sense is an error.
func TestVarlenAttentionIsChecked(t *testing.T) {
	p, err := calibrate.Profile("h100")
	require.NoError(t, err)
	for _, v := range []cost.VarlenAttention{{}, varlen(), varlen(cost.Document{Q: 1, KV: 1}), varlen(cost.Document{Q: 2, KV: 1, N: 1})} {
		_, err := p.Price(v)
		require.Error(t, err)
	}
}
