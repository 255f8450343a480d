package packing

import (
	"math"
	"math/bits"
	"slices"
)

// Truncate cuts lengths at the context and says how many were longer, and by how
// many tokens.
func Truncate(lengths []int, context int) (out []int, cut, tokens int) {
	out = slices.Clone(lengths)
	for i, l := range out {
		if l > context {
			out[i] = context
			cut, tokens = cut+1, tokens+l-context
		}
	}
	return out, cut, tokens
}

// Stats describes a set of lengths, in tokens.
type Stats struct {
	Samples   int         `json:"samples"`
	Tokens    int         `json:"tokens"`
	Mean      float64     `json:"mean"`
	CV        float64     `json:"cv"` // standard deviation over mean
	Quantiles []Quantile  `json:"quantiles"`
	Histogram []Histogram `json:"histogram"`
}

// Quantile is a share of the samples and the least length that as many do not exceed.
type Quantile struct {
	Share  float64 `json:"share"`
	Length int     `json:"length"`
}

// Histogram is an octave of lengths: From <= length < 2 From.
type Histogram struct {
	From    int     `json:"from"`
	Samples int     `json:"samples"`
	Tokens  float64 `json:"share_of_tokens"`
}

// Describe sums up lengths, of which there must be one or more.
func Describe(lengths []int) Stats {
	sorted := slices.Sorted(slices.Values(lengths))
	s := Stats{Samples: len(sorted)}
	octaves := [64]struct{ samples, tokens int }{}
	for _, l := range sorted {
		s.Tokens += l
		o := bits.Len(uint(l)) - 1
		octaves[o].samples++
		octaves[o].tokens += l
	}
	s.Mean = float64(s.Tokens) / float64(s.Samples)
	variance := 0.0
	for _, l := range sorted {
		variance += (float64(l) - s.Mean) * (float64(l) - s.Mean) / float64(s.Samples)
	}
	s.CV = math.Sqrt(variance) / s.Mean
	for _, q := range []float64{0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1} {
		s.Quantiles = append(s.Quantiles, Quantile{q, sorted[max(0, int(math.Ceil(q*float64(s.Samples)-1e-9))-1)]})
	}
	for o, n := range octaves {
		if n.samples > 0 {
			s.Histogram = append(s.Histogram, Histogram{From: 1 << o, Samples: n.samples, Tokens: float64(n.tokens) / float64(s.Tokens)})
		}
	}
	return s
}
