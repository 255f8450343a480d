// Package shapes lists the sizes that are worth measuring: those of the models of
// the catalogue on tensor-parallel ranks, and lattices around them.
package shapes

import (
	"cmp"
	"math"
	"slices"

	"orrery/models"
)

// GEMM is a product y[M,N] = x[M,K] W[N,K]^T of a linear layer; its two backward
// products follow.
type GEMM struct {
	M, N, K int64
	Role    string  // qkv, proj, fc1, fc2, head, router, q_down, kv_up …; "lattice"
	Weight  float64 // share of the FLOPs of the catalogue's models, and of coverage
}

// tokens of a rank's pass.
var tokens = []int64{1024, 2048, 4096, 8192, 16384, 32768}

// GEMMs are the linear layers of the catalogue's models at TP 1 to 8 and 1K to 32K
// tokens: first what models spend their FLOPs on, at 8,192 tokens, then sizes that
// are far from all before them, then a lattice.
func GEMMs() []GEMM {
	sum := map[GEMM]float64{}
	for _, name := range models.Transformers() {
		m, err := models.Lookup(name)
		if err != nil {
			continue // a name of the catalogue is found
		}
		for _, tp := range []int64{1, 2, 4, 8} {
			for _, l := range linears(m, tp) {
				for _, t := range tokens {
					share := float64(l.N*l.K*l.M) / (float64(m.Params()) / float64(tp))
					g := GEMM{M: t, N: l.N, K: l.K, Role: l.Role}
					sum[g] += share * math.Exp2(-math.Abs(math.Log2(float64(t)/8192)))
				}
			}
		}
	}
	var out []GEMM
	for g, w := range sum {
		g.Weight = w
		out = append(out, g)
	}
	for m := int64(512); m <= 32768; m *= 4 {
		for n := int64(512); n <= 32768; n *= 2 {
			for k := int64(512); k <= 32768; k *= 4 {
				out = append(out, GEMM{M: m, N: n, K: k, Role: "lattice", Weight: 1e-3})
			}
		}
	}
	return spread(out)
}

// linears are a model's linear layers on a rank; M counts how many of them a
// token passes.
func linears(m *models.Model, tp int64) []GEMM {
	var out []GEMM
	add := func(role string, n, k, times int64) {
		if n > 0 && k > 0 && times > 0 && n%8 == 0 && k%8 == 0 {
			out = append(out, GEMM{N: n, K: k, Role: role, M: times})
		}
	}
	a := m.Attn
	if a.Heads%tp != 0 || m.Hidden%tp != 0 {
		return nil
	}
	if a.MLA() {
		heads := a.Heads / tp
		add("q_down", a.QLoRA, m.Hidden, m.Layers)
		add("kv_down", a.KVLoRA+a.Rope, m.Hidden, m.Layers)
		add("q_up", heads*(a.Nope+a.Rope), max(a.QLoRA, 1), m.Layers)
		add("kv_up", heads*(a.Nope+a.VDim), a.KVLoRA, m.Layers)
		add("proj", m.Hidden, heads*a.VDim, m.Layers)
	} else {
		q, kv := a.Heads/tp*a.HeadDim, max(a.KVHeads/tp, 1)*a.HeadDim
		add("qkv", q+2*kv, m.Hidden, m.Layers)
		add("proj", m.Hidden, q, m.Layers)
	}
	gate := int64(1)
	if m.Gated {
		gate = 2
	}
	moe := int64(0)
	for i := range m.Layers {
		if m.IsMoE(i) {
			moe++
		}
	}
	if dense := m.Layers - moe; dense > 0 && m.FFN%tp == 0 {
		add("fc1", gate*m.FFN/tp, m.Hidden, dense)
		add("fc2", m.Hidden, m.FFN/tp, dense)
	}
	if moe > 0 {
		if s := m.MoE.SharedFFN; s%tp == 0 {
			add("shared_fc1", gate*s/tp, m.Hidden, moe)
			add("shared_fc2", m.Hidden, s/tp, moe)
		}
		if tp == 1 {
			add("router", m.MoE.Experts, m.Hidden, moe)
		}
	}
	if v := (m.Vocab + 128*tp - 1) / (128 * tp) * 128; v > 0 {
		add("head", v, m.Hidden, 1)
	}
	return out
}

// spread orders by weight, then lets a size wait that is close to one before it:
// within a factor of 1.3 in every dimension its weight halves.
func spread(all []GEMM) []GEMM {
	byWeight := func(a, b GEMM) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.M, b.M), cmp.Compare(a.N, b.N), cmp.Compare(a.K, b.K), cmp.Compare(a.Role, b.Role))
	}
	slices.SortFunc(all, byWeight)
	taken := map[[3]int64]bool{}
	seen := map[[3]int64]bool{}
	var out []GEMM
	for _, g := range all {
		exact := [3]int64{g.M, g.N, g.K}
		if seen[exact] {
			continue // another role of the same size
		}
		seen[exact] = true
		cell := [3]int64{}
		for i, x := range exact {
			cell[i] = int64(math.Round(math.Log(float64(x)) / math.Log(1.3)))
		}
		if taken[cell] {
			g.Weight /= 16
		}
		taken[cell] = true
		out = append(out, g)
	}
	slices.SortStableFunc(out, byWeight)
	return out
}

// Experts is a grouped product of Groups experts over Tokens rows together.
type Experts struct {
	Groups, Tokens, N, K int64
	MaxOverMean          float64 // 1 is even
}

// Grouped are the expert layers of the catalogue's models over 1 to 64 ranks, even
// and with one expert that has twice its share.
func Grouped() []Experts {
	seen := map[Experts]bool{}
	var out []Experts
	for _, name := range models.Transformers() {
		m, err := models.Lookup(name)
		if err != nil || m.MoE == nil {
			continue
		}
		gate := int64(1)
		if m.Gated {
			gate = 2
		}
		for ep := int64(1); ep <= 64; ep *= 4 {
			groups := m.MoE.Experts / ep
			if groups < 1 || groups > 64 || m.MoE.Latent > 0 {
				continue
			}
			for _, t := range []int64{4096, 16384} {
				rows := t * m.MoE.TopK
				for _, skew := range []float64{1, 2} {
					for _, nk := range [][2]int64{{gate * m.MoE.FFN, m.Hidden}, {m.Hidden, m.MoE.FFN}} {
						e := Experts{Groups: groups, Tokens: rows, N: nk[0], K: nk[1], MaxOverMean: skew}
						if !seen[e] && rows >= 16*groups && (groups > 2 || skew == 1) && rows*max(nk[0], nk[1]) < 1<<31 {
							seen[e] = true
							out = append(out, e)
						}
					}
				}
			}
		}
	}
	return out
}

// Rows of each expert: the first has MaxOverMean times the mean, the others share
// the rest evenly.
func (e Experts) Rows() []int64 {
	out := make([]int64, e.Groups)
	out[0] = min(int64(e.MaxOverMean*float64(e.Tokens)/float64(e.Groups)), e.Tokens)
	left := e.Tokens - out[0]
	for i := int64(1); i < e.Groups; i++ {
		out[i] = left / (e.Groups - i)
		left -= out[i]
	}
	return out
}
