package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// RankSkew is the load generator of UltraEP's own tests: expert m of rank r has
// the weight (r+1)^-a (m+1)^-4, with the a that gives the wanted imbalance of
// ranks, and every token chooses TopK different experts by weight.
type RankSkew struct {
	Ranks, Experts, TopK, Tokens int     // Tokens a rank
	Imbalance                    float64 // of ranks, largest over mean
}

// exponent solves for a in [0, 8].
func (g RankSkew) exponent() (float64, error) {
	at := func(a float64) float64 {
		loads := make([]float64, g.Ranks)
		for e, p := range inclusion(g.weights(a), g.TopK) {
			loads[e/(g.Experts/g.Ranks)] += p
		}
		return Imbalance(loads)
	}
	if most := at(8); !(g.Imbalance >= 1 && g.Imbalance <= most) {
		return 0, fmt.Errorf("a rank skew of %g: %d ranks x %d experts and top-%d allow 1 to %.4g", g.Imbalance, g.Ranks, g.Experts/g.Ranks, g.TopK, most)
	}
	if at(0) >= g.Imbalance {
		return 0, nil
	}
	return bisect(0, 8, func(a float64) bool { return at(a) >= g.Imbalance }), nil
}

func (g RankSkew) weights(a float64) []float64 {
	mains, local := g.Experts/g.Ranks, 4.0
	if mains == 1 {
		local = 0
	}
	w := make([]float64, g.Experts)
	for e := range w {
		w[e] = math.Pow(float64(e/mains+1), -a) * math.Pow(float64(e%mains+1), -local)
	}
	return w
}

// Generate draws a load. The same seed gives the same load.
func (g RankSkew) Generate(seed uint64) (*Load, error) {
	if err := checkDraw(g.Ranks, g.Experts, g.TopK, g.Tokens); err != nil {
		return nil, err
	}
	if g.Experts%g.Ranks != 0 {
		return nil, fmt.Errorf("a rank skew: %d experts do not divide over %d ranks", g.Experts, g.Ranks)
	}
	a, err := g.exponent()
	if err != nil {
		return nil, err
	}
	table, rng := newAlias(g.weights(a)), rand.New(rand.NewPCG(seed, 0))
	l := &Load{Ranks: g.Ranks, Experts: g.Experts, Tokens: make([]int64, g.Ranks*g.Experts)}
	for r := range g.Ranks {
		table.topK(g.Tokens, g.TopK, rng, l.Tokens[r*g.Experts:(r+1)*g.Experts])
	}
	return l, nil
}

// Most pairs of token and expert that a generator draws one by one.
const maxDraws = 1 << 30

func checkDraw(ranks, experts, topK, tokens int) error {
	switch {
	case ranks < 1 || ranks > maxRanks || experts < 1 || experts > maxExperts:
		return fmt.Errorf("ranks are %d and experts %d, must be 1 to %d and 1 to %d", ranks, experts, maxRanks, maxExperts)
	case topK < 1 || topK > experts:
		return fmt.Errorf("top-k is %d, must be 1 to the number of experts, %d", topK, experts)
	case tokens < 1 || tokens > maxDraws/topK/ranks:
		return fmt.Errorf("tokens a rank are %d, must be 1 to %d", tokens, maxDraws/topK/ranks)
	}
	return nil
}
