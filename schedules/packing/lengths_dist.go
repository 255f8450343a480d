package packing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"orrery/sim/unit"
)

// Distribution is a named source of lengths.
type Distribution struct {
	Name     string
	Describe string // one line, with its parameters
	Kind     string // fitted (to measurements), assumed or synthetic
	Source   string // what the parameters rest on
	draw     func(rng *rand.Rand, n, context int) []float64
}

// The named distributions. English Wikipedia is measured; the tails of the others
// are assumptions, for want of published histograms of training corpora.
var distributions = []Distribution{
	{
		Name: "wikipedia", Describe: "lognormal, mu 5.72, sigma 1.27, up to 32768 tokens",
		Kind:   "fitted",
		Source: "published figures of 10,000 English articles: mean 692, standard deviation 1293, median 305, longest 32,552 (cl100k tokens)",
		draw:   each(func(rng *rand.Rand, _ int) float64 { return min(lognormal(rng, 5.72, 1.27), 32768) }),
	},
	{
		Name: "web", Describe: "lognormal, mu 6.4, sigma 1.3; Pareto tail of index 1.1 from 8192 tokens",
		Kind:   "assumed",
		Source: "a web crawl has a median of 600 tokens and a tail that is nearly a Zipf law",
		draw:   each(func(rng *rand.Rand, _ int) float64 { return tailed(rng, 6.4, 1.3, 8192, 1.1) }),
	},
	{
		Name: "code", Describe: "lognormal, mu 6.9, sigma 1.5; Pareto tail of index 0.9 from 16384 tokens",
		Kind:   "assumed",
		Source: "files and concatenated repositories, a median of 1,000 tokens",
		draw:   each(func(rng *rand.Rand, _ int) float64 { return tailed(rng, 6.9, 1.5, 16384, 0.9) }),
	},
	{
		Name: "long_context", Describe: "by tokens 70 % web, 20 % of 4096-65536 in equal octaves, 10 % books of 65536-262144",
		Kind:   "assumed",
		Source: "the shares are those of a published long-context stage (Apertus, arXiv:2509.14233, table 8)",
		draw:   mixture,
	},
	{
		Name: "uniform", Describe: "1 to the context, all alike",
		Kind:   "synthetic",
		Source: "no data",
		draw:   each(func(rng *rand.Rand, context int) float64 { return 1 + rng.Float64()*float64(context) }),
	},
	{
		Name: "fixed", Describe: "the context, every sample",
		Kind:   "synthetic",
		Source: "no data",
		draw:   each(func(_ *rand.Rand, context int) float64 { return float64(context) }),
	},
}

// Distributions lists the named distributions.
func Distributions() []Distribution { return slices.Clone(distributions) }

// Draw draws n lengths of a named distribution, cut at the context; the same seed
// gives the same lengths. It returns an error for an unknown name, which suggests
// the nearest.
func Draw(name string, n, context int, seed uint64) ([]int, error) {
	if n < 1 || n > maxSamples {
		return nil, fmt.Errorf("%d samples, must be 1 to %d", n, maxSamples)
	}
	if context < 1 || context > maxContext {
		return nil, fmt.Errorf("context %d, must be 1 to %d tokens", context, maxContext)
	}
	d, err := lookupDistribution(name)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]int, n)
	for i, x := range d.draw(rng, n, context) {
		out[i] = int(min(max(1, x), float64(context)))
	}
	return out, nil
}

func lookupDistribution(name string) (*Distribution, error) {
	key := unit.NameKey(name)
	names := make([]string, len(distributions))
	for i := range distributions {
		names[i] = distributions[i].Name
		if names[i] == key {
			return &distributions[i], nil
		}
	}
	return nil, unit.UnknownName("distribution", name, names)
}

// each draws every sample by itself.
func each(draw func(rng *rand.Rand, context int) float64) func(*rand.Rand, int, int) []float64 {
	return func(rng *rand.Rand, n, context int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = draw(rng, context)
		}
		return out
	}
}

func lognormal(rng *rand.Rand, mu, sigma float64) float64 {
	return math.Exp(mu + sigma*rng.NormFloat64())
}

// tailed is lognormal up to from and Pareto of index alpha above it: the lognormal
// says how many are above.
func tailed(rng *rand.Rand, mu, sigma, from, alpha float64) float64 {
	x := lognormal(rng, mu, sigma)
	if x <= from {
		return x
	}
	return from * math.Pow(1-rng.Float64(), -1/alpha)
}

// equalOctaves has the same number of tokens in each octave of [a, b): density 1/x².
func equalOctaves(rng *rand.Rand, a, b float64) float64 {
	u := rng.Float64()
	return 1 / (1/a - u*(1/a-1/b))
}

// mixture draws components by their share of tokens: the one that is furthest
// behind comes next; then the order is shuffled.
func mixture(rng *rand.Rand, n, context int) []float64 {
	parts := []struct {
		share float64
		draw  func() float64
	}{
		{0.7, func() float64 { return tailed(rng, 6.4, 1.3, 8192, 1.1) }},
		{0.2, func() float64 { return equalOctaves(rng, 4096, 65536) }},
		{0.1, func() float64 { return math.Exp(math.Log(65536) + rng.Float64()*math.Log(4)) }},
	}
	out := make([]float64, n)
	drawn, total := make([]float64, len(parts)), 0.0
	for i := range out {
		next, behind := 0, math.Inf(-1)
		for k, p := range parts {
			if b := p.share*total - drawn[k]; b > behind {
				next, behind = k, b
			}
		}
		out[i] = min(parts[next].draw(), float64(context))
		drawn[next] += out[i]
		total += out[i]
	}
	rng.Shuffle(n, func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}
