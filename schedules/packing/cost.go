package packing

import (
	"fmt"
	"math"
)

// Cost is what a slice takes on one lane, that is on one rank of each stage, as
// pure numbers: who has calibrated prices passes them.
//
// A slice [x0, x1) of a sample has q = x1-x0 queries and attends to
// (x1²-x0²)/2 pairs of a query and a key. Its forward on a stage takes
//
//	TokenS q + PairS ((x1²-x0²)/2 + QueryPairs q)
//
// and its backward BackToken and BackPair times the two terms. A document mask
// is implied: pairs are counted within samples.
type Cost struct {
	TokenS float64 // s a token, of all but core attention
	PairS  float64 // s a pair, of core attention
	// QueryPairs is the fixed part of attention's efficiency: a query costs as much
	// as so many pairs more than it attends to (masked halves of tiles on the
	// diagonal, short rows). It makes many short samples dearer than their squares.
	QueryPairs float64
	Tile       int     // query rows of a tile; pieces of context parallelism are rounded up
	BackToken  float64 // backward over forward, all but core attention
	BackPair   float64 // backward over forward, core attention
	// LastTokenS is what a token takes more on the last stage (the output layer),
	// where the layers are not dealt out to make up for it.
	LastTokenS float64
	UnitS      float64 // s a unit's forward takes at least: launches
	UnitBackS  float64 // the same of its backward

	HopS      float64 // latency of a transfer to the next stage
	HopTokenS float64 // s a token of such a transfer
	// Context parallelism: s to receive the keys and values (of one stage) of a
	// token from a lane of the same node, and from one of another. Their gradients
	// go back in the backward, which so takes twice. Attention hides it as far as
	// attention is longer.
	KVTokenS, FarKVTokenS float64
	// QueryKV is the bytes of a query and its output over those of a key and value,
	// 1 or more: where a slice's queries are few and its prefix long, queries go to
	// the keys and outputs come back instead (as SlimPipe does). 0: keys always move.
	QueryKV float64
	Node    int // lanes of a node, neighbours by number; 0 is all
}

// Derivation is what Cost is computed from where nothing is measured for the
// model at hand.
type Derivation struct {
	Layers      float64 // of a stage
	TokenFLOPs  float64 // forward FLOPs of linear layers for a token, a layer and rank
	PairFLOPs   float64 // forward FLOPs of core attention for a pair, a layer and rank
	KVBytes     float64 // B of keys and values of a token, a layer and rank
	QueryBytes  float64 // B of a query and its output, the same
	HiddenBytes float64 // B of a token's hidden state, a rank
	Node        int     // lanes of a node
}

// Rates of an H100, from fits to measured kernels (NVIDIA aiconfigurator, H100
// SXM): the median bf16 GEMM of 4096 or more in each size; FlashAttention-3 with
// head dimension 128, t = t0 + FLOPs (1 + 1024/s) / rate; a point-to-point
// transfer over NVLink and over one 400 Gb/s port.
const (
	gemmFLOPS       = 771e12
	attentionFLOPS  = 668e12
	attentionShortS = 1024.0 // s0 of the fit, in tokens
	attentionLaunch = 12e-6  // s
	gemmLaunch      = 2.48e-6
	nvlinkBps       = 357e9 // B/s
	networkBps      = 35.9e9
	networkLatency  = 19.1e-6 // s
	flashTile       = 128     // query rows
)

// Derive gives the costs of an H100: linear layers and attention at the rates
// measured, without tensor-parallel communication. Backward takes twice the
// forward in linear layers (two GEMMs of the same size) and 3 times in attention
// (5 products for 2, at 0.84 of the rate: FlashAttention-3, measured 2.9-3.1).
func Derive(d Derivation) Cost {
	const gemms = 4 // a layer
	launch := d.Layers * (attentionLaunch + gemms*gemmLaunch)
	return Cost{
		TokenS:      d.Layers * d.TokenFLOPs / gemmFLOPS,
		PairS:       d.Layers * d.PairFLOPs / attentionFLOPS,
		QueryPairs:  attentionShortS / 2,
		Tile:        flashTile,
		BackToken:   2,
		BackPair:    3,
		UnitS:       launch,
		UnitBackS:   2 * launch,
		HopS:        networkLatency,
		HopTokenS:   d.HiddenBytes / networkBps,
		KVTokenS:    d.Layers * d.KVBytes / nvlinkBps,
		FarKVTokenS: d.Layers * d.KVBytes / networkBps,
		QueryKV:     max(1, d.QueryBytes/d.KVBytes),
		Node:        d.Node,
	}
}

// Llama8B is Llama-3 8B (arXiv:2407.21783, table 3: 32 layers, hidden 4096, FFN
// 14336, 32 heads of 128 and 8 of keys and values, vocabulary 128256) with its
// layers and output layer dealt evenly over pp stages of single H100s, 8 to a node,
// and what a token keeps for the backward pass without recomputation.
func Llama8B(pp int) (Cost, Footprint) {
	const h, kv, ffn, layers, vocab = 4096.0, 1024.0, 14336.0, 32.0, 128256.0
	l := layers / float64(max(1, pp))
	c := Derive(Derivation{Layers: l, TokenFLOPs: 2 * (2*h*h + 2*h*kv + 3*h*ffn + h*vocab/layers), PairFLOPs: 4 * h, KVBytes: 4 * kv, QueryBytes: 4 * h, HiddenBytes: 2 * h, Node: 8})
	return c, Footprint{Activation: l * (12*h + 4*kv + 6*ffn), KV: l * 4 * kv}
}

// fields names the costs, for messages.
func (c *Cost) fields() []struct {
	name  string
	value float64
} {
	return []struct {
		name  string
		value float64
	}{
		{"time of a token", c.TokenS}, {"time of a pair", c.PairS}, {"pairs of a query", c.QueryPairs},
		{"backward ratio of tokens", c.BackToken}, {"backward ratio of pairs", c.BackPair},
		{"time of a token on the last stage", c.LastTokenS},
		{"time of a unit", c.UnitS}, {"backward time of a unit", c.UnitBackS},
		{"latency of a hop", c.HopS}, {"time of a token's hop", c.HopTokenS},
		{"exchange of a token in a node", c.KVTokenS}, {"exchange of a token between nodes", c.FarKVTokenS},
	}
}

// check refuses costs that are no costs.
func (c *Cost) check() error {
	for _, f := range c.fields() {
		if !(f.value >= 0) || math.IsInf(f.value, 0) {
			return fmt.Errorf("cost: the %s is %g, must be 0 or more", f.name, f.value)
		}
	}
	if c.TokenS+c.PairS <= 0 {
		return fmt.Errorf("cost: tokens and pairs take no time, there is nothing to balance")
	}
	if c.QueryKV != 0 && c.QueryKV < 1 || math.IsNaN(c.QueryKV) {
		return fmt.Errorf("cost: a query and its output are %g of a key and value, must be 1 or more, or 0", c.QueryKV)
	}
	if c.Tile < 0 || c.Node < 0 {
		return fmt.Errorf("cost: tile %d, node %d, must be 0 or more", c.Tile, c.Node)
	}
	return nil
}

// pairs is the pairs that a slice attends to, those of its queries' fixed part
// included.
func (c *Cost) pairs(x0, x1 float64) float64 {
	return (x1-x0)*(x1+x0)/2 + c.QueryPairs*(x1-x0)
}

// work is a slice's time on one lane with nothing lost, in seconds a stage.
func (c *Cost) work(x0, x1 int) (forward, backward float64) {
	linear, attention := c.TokenS*float64(x1-x0), c.PairS*c.pairs(float64(x0), float64(x1))
	return linear + attention, c.BackToken*linear + c.BackPair*attention
}

// Sample is the forward and backward time of a whole sample on one lane, in
// seconds a stage: what the packers balance.
func (c *Cost) Sample(tokens int) (forward, backward float64) { return c.work(0, tokens) }

// exchange is the seconds a lane needs to receive a token's keys and values.
func (c *Cost) exchange(first, width int) float64 {
	if width <= 1 {
		return 0
	}
	if c.Node == 0 || first%c.Node+width <= c.Node {
		return c.KVTokenS
	}
	return max(c.KVTokenS, c.FarKVTokenS)
}

// SampleOn is Sample on width neighbouring lanes from first, alone in its unit,
// without the time of the unit itself.
func (c *Cost) SampleOn(tokens, first, width int) (forward, backward float64) {
	if width <= 1 {
		return c.work(0, tokens)
	}
	l := load{}
	l.add(c, 0, float64(tokens), width)
	return l.times(c, first, width)
}
