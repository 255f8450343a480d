package balance

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"orrery/sim/unit"
)

// Generator makes loads from popularities of experts.
type Generator struct {
	Kind                         string // one of Kinds
	Ranks, Experts, TopK, Tokens int    // Tokens of a source rank
	Seed                         uint64
	// Values are the parameters of the kind; absent ones take their defaults.
	Values map[string]string
}

// kind is a law of expert popularity: weights by which tokens choose.
type kind struct {
	doc     string
	keys    map[string]string
	weights func(g *Generator, p *params, rng *rand.Rand) []float64
}

var kinds = map[string]kind{
	"balanced": {"all experts alike, what balanced routing gives", nil,
		func(g *Generator, _ *params, _ *rand.Rand) []float64 {
			return constant(g.Experts)
		}},
	"zipf": {"weight of the i-th hottest expert i^-s, experts in random order", map[string]string{"s": "exponent, 0.5"},
		func(g *Generator, p *params, rng *rand.Rand) []float64 {
			w, s := make([]float64, g.Experts), p.number("s", 0, 8, 0.5)
			for i, e := range rng.Perm(g.Experts) {
				w[e] = math.Pow(float64(i+1), -s)
			}
			return w
		}},
	"power_law": {"weights with density x^-alpha from 1 to ratio", map[string]string{"alpha": "exponent, 1.2", "ratio": "largest over smallest, 1000"},
		powerLaw},
	"deepseek_r1_prefill": {"fitted to DeepSeek-R1 in prefill, 58 layers x 256 experts", r1Keys, r1(0.35, 0.30, 0.60)},
	"deepseek_r1_decode":  {"fitted to DeepSeek-R1 in decode", r1Keys, r1(0.55, 0.20, 0.50)},
	"lognormal": {"the law of deepseek_r1_prefill, scaled to an imbalance of ranks: training with an auxiliary loss or a bias, for a published imbalance",
		map[string]string{"imbalance": "of ranks, largest over mean, 2", "groups": r1Keys["groups"], "blocks": r1Keys["blocks"]}, lognormal},
	"rank_skew": {"UltraEP's test generator: an imbalance of ranks", map[string]string{"imbalance": "of ranks, largest over mean, 2"},
		nil}, // draws token by token
}

// Kinds lists the kinds of generated loads with what they are.
func Kinds() map[string]string {
	out := map[string]string{}
	for name, k := range kinds {
		out[name] = k.doc
		if len(k.keys) > 0 {
			var keys []string
			for _, key := range slices.Sorted(maps.Keys(k.keys)) {
				keys = append(keys, key+" ("+k.keys[key]+")")
			}
			out[name] += "; " + strings.Join(keys, ", ")
		}
	}
	return out
}

func constant(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 1
	}
	return w
}

// powerLaw draws from a bounded Pareto distribution by inverting it.
func powerLaw(g *Generator, p *params, rng *rand.Rand) []float64 {
	alpha, ratio := p.number("alpha", 0, 8, 1.2), p.number("ratio", 1, 1e9, 1000)
	w := make([]float64, g.Experts)
	for e := range w {
		u := rng.Float64()
		if k := 1 - alpha; math.Abs(k) < 1e-9 {
			w[e] = math.Pow(ratio, u)
		} else {
			w[e] = math.Pow(1+u*(math.Pow(ratio, k)-1), 1/k)
		}
	}
	return w
}

var r1Keys = map[string]string{"groups": "groups of experts, 8", "blocks": "blocks of neighbours, 64"}

// r1 is a log-normal law with three causes: what an expert, its block of
// neighbours (4 of 256) and its routing group (32 of 256) have in common. The
// standard deviations are fitted, by a grid of 0.05 (0.1 for blocks), to the
// medians over layers of expert and rank maxima, coefficient of variation, share
// of the top tenth and coldest expert, averaged over the prefill and the decode
// workloads of the published DeepSeek-R1 statistics (58 layers, real traffic).
func r1(group, block, expert float64) func(*Generator, *params, *rand.Rand) []float64 {
	return func(g *Generator, p *params, rng *rand.Rand) []float64 {
		groups := min(p.whole("groups", 1, maxExperts, 8), g.Experts)
		blocks := min(p.whole("blocks", 1, maxExperts, 64), g.Experts)
		normal := func(n int, sd float64) []float64 {
			x := make([]float64, n)
			for i := range x {
				x[i] = sd * rng.NormFloat64()
			}
			return x
		}
		ofGroup, ofBlock, w := normal(groups, group), normal(blocks, block), normal(g.Experts, expert)
		for e := range w {
			w[e] = math.Exp(w[e] + ofGroup[e*groups/g.Experts] + ofBlock[e*blocks/g.Experts])
		}
		return w
	}
}

// lognormal scales the logarithms of a draw until the popularities give the
// wanted imbalance of ranks; the counts add their own noise.
func lognormal(g *Generator, p *params, rng *rand.Rand) []float64 {
	target := p.number("imbalance", 1, 1000, 2)
	w := r1(0.35, 0.30, 0.60)(g, p, rng)
	scaled, home := make([]float64, len(w)), Setup{Ranks: g.Ranks, Experts: g.Experts}
	at := func(scale float64) float64 {
		for e, x := range w {
			scaled[e] = math.Pow(x, scale)
		}
		loads := make([]float64, g.Ranks)
		for e, c := range inclusion(scaled, g.TopK) {
			loads[home.Home(e)] += c
		}
		return Imbalance(loads)
	}
	if most := at(8); most < target && p.err == nil {
		p.err = fmt.Errorf("load lognormal: an imbalance of %g; %d experts on %d ranks and top-%d allow 1 to %.4g", target, g.Experts, g.Ranks, g.TopK, most)
	}
	at(bisect(0, 8, func(scale float64) bool { return at(scale) >= target }))
	return scaled
}

// ParseGenerator reads KIND or KIND:KEY=VALUE,KEY=VALUE.
func ParseGenerator(text string) (*Generator, error) {
	name, list, _ := strings.Cut(text, ":")
	g := &Generator{Kind: unit.NameKey(name), Values: map[string]string{}}
	k, ok := kinds[g.Kind]
	if !ok {
		return nil, unit.UnknownName("kind of load", name, slices.Sorted(maps.Keys(kinds)))
	}
	if list == "" {
		return g, nil
	}
	for _, pair := range strings.Split(list, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("load %s: %q is not of the form key=value", g.Kind, pair)
		}
		if _, known := k.keys[key]; !known {
			return nil, fmt.Errorf("load %s has no parameter %q; it has %s", g.Kind, key, keyList(k.keys))
		}
		if _, twice := g.Values[key]; twice {
			return nil, fmt.Errorf("load %s: parameter %q is there twice", g.Kind, key)
		}
		g.Values[key] = value
	}
	return g, nil
}

func keyList(keys map[string]string) string {
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
}

// Weights are the popularities by which tokens choose.
func (g *Generator) Weights() ([]float64, error) {
	k, ok := kinds[g.Kind]
	if !ok {
		return nil, fmt.Errorf("no kind of load is called %q", g.Kind)
	}
	if k.weights == nil {
		return nil, fmt.Errorf("load %s has no popularities of experts alone", g.Kind)
	}
	if err := checkDraw(g.Ranks, g.Experts, g.TopK, g.Tokens); err != nil {
		return nil, err
	}
	p := &params{of: "load " + g.Kind, values: g.Values}
	w := k.weights(g, p, rand.New(rand.NewPCG(g.Seed, 1)))
	return w, p.err
}

// Generate draws one load; the same generator gives the same load.
func (g *Generator) Generate() (*Load, error) {
	if g.Kind == "rank_skew" {
		p := &params{of: "load rank_skew", values: g.Values}
		s := RankSkew{Ranks: g.Ranks, Experts: g.Experts, TopK: g.TopK, Tokens: g.Tokens, Imbalance: p.number("imbalance", 1, 1e6, 2)}
		if p.err != nil {
			return nil, p.err
		}
		return s.Generate(g.Seed)
	}
	w, err := g.Weights()
	if err != nil {
		return nil, err
	}
	return Draw(w, g.Ranks, g.TopK, g.Tokens, rand.New(rand.NewPCG(g.Seed, 2))), nil
}

// Draw makes a load from popularities: the counts of each source are multinomial
// by the chances of experts to be among a token's k. A router's counts vary a
// little less, because a token chooses an expert at most once; that no count
// exceeds the tokens is kept.
func Draw(weights []float64, ranks, topK, tokens int, rng *rand.Rand) *Load {
	l := &Load{Ranks: ranks, Experts: len(weights), Tokens: make([]int64, ranks*len(weights))}
	chances := inclusion(weights, topK)
	for r := range ranks {
		multinomial(l.Tokens[r*l.Experts:(r+1)*l.Experts], chances, int64(tokens)*int64(topK), int64(tokens), rng)
	}
	return l
}

// binomial draws from n trials of chance p; where the variance is above 25, from
// the normal distribution.
func binomial(n int64, p float64, rng *rand.Rand) int64 {
	mean := float64(n) * p
	if variance := mean * (1 - p); variance > 25 {
		return min(max(int64(math.Round(mean+math.Sqrt(variance)*rng.NormFloat64())), 0), n)
	}
	return int64(distuv.Binomial{N: float64(n), P: p, Src: rng}.Rand())
}

// multinomial deals n over the counts by chance, none above limit; limit times
// the number of counts is at least n.
func multinomial(counts []int64, chances []float64, n, limit int64, rng *rand.Rand) {
	rest := sum(chances)
	for i, p := range chances {
		share := n
		if rest > p && n > 0 {
			share = binomial(n, p/rest, rng)
		}
		counts[i] = min(share, limit)
		n -= counts[i]
		rest -= p
	}
	for i := range counts { // what the limit kept out
		more := min(n, limit-counts[i])
		counts[i] += more
		n -= more
	}
}
