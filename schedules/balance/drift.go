package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Drift makes loads that change from microbatch to microbatch. It is synthetic:
// no routing traces of training are public. The log popularity of every expert
// is a stationary first-order autoregression around the generator's law,
//
//	x(t+1) = rho x(t) + sqrt(1 - rho^2) sigma N(0, 1),  weight = law exp(x - sigma^2/2),
//
// so that sigma is how far an expert strays and 1/(1-rho) about how many
// microbatches it takes to come back.
type Drift struct {
	Law   *Generator
	Sigma float64 // standard deviation of the log popularity, 0 or more
	Rho   float64 // correlation of one microbatch with the next, 0 to 1
	// Group tells apart streams under one law: ranks that hold the same experts and
	// see other data.
	Group int
}

// Stream is a drift under way: the loads of one layer, in order.
type Stream struct {
	drift   Drift
	seed    uint64
	index   uint64 // of the next microbatch
	rng     *rand.Rand
	law, x  []float64
	weights []float64
}

// Start begins a stream; layers differ by their number, and the same drift and
// layer give the same loads.
func (d Drift) Start(layer int) (*Stream, error) {
	if !(d.Sigma >= 0 && d.Sigma <= 10) || !(d.Rho >= 0 && d.Rho <= 1) {
		return nil, fmt.Errorf("a drift has sigma %g and rho %g, must be 0 to 10 and 0 to 1", d.Sigma, d.Rho)
	}
	law := *d.Law
	law.Seed += uint64(layer) << 32
	w, err := law.Weights()
	if err != nil {
		return nil, err
	}
	s := &Stream{drift: d, seed: law.Seed, rng: rand.New(rand.NewPCG(law.Seed, 3+uint64(d.Group)<<8)), law: w, x: make([]float64, len(w)), weights: make([]float64, len(w))}
	for e := range s.x {
		s.x[e] = d.Sigma * s.rng.NormFloat64()
	}
	return s, nil
}

// Next draws the load of the next microbatch.
func (s *Stream) Next() *Load {
	d, index := s.drift, s.index
	s.Skip()
	return Draw(s.weights, d.Law.Ranks, d.Law.TopK, d.Law.Tokens, rand.New(rand.NewPCG(s.seed, 4+uint64(d.Group)<<8+index<<32)))
}

// Past draws the load of the next microbatch as balancers that look back need it:
// its totals by expert, of the law of those that Next draws, spread evenly over the
// sources, in a fraction of the time.
func (s *Stream) Past() *Load {
	d, index := s.drift, s.index
	s.Skip()
	rng := rand.New(rand.NewPCG(s.seed, 5+uint64(d.Group)<<8+index<<32))
	all := int64(d.Law.Ranks) * int64(d.Law.Tokens)
	totals := make([]int64, len(s.weights))
	multinomial(totals, inclusion(s.weights, d.Law.TopK), all*int64(d.Law.TopK), all, rng)
	load, err := SpreadLoad(totals, d.Law.Ranks)
	if err != nil { // Start has checked the sizes
		return Draw(s.weights, d.Law.Ranks, d.Law.TopK, d.Law.Tokens, rng)
	}
	return load
}

// Skip passes over a microbatch: those after it are what they would have been, for
// a fraction of the time.
func (s *Stream) Skip() {
	d := s.drift
	for e, x := range s.x {
		s.weights[e] = s.law[e] * math.Exp(x-d.Sigma*d.Sigma/2)
		s.x[e] = d.Rho*x + math.Sqrt(1-d.Rho*d.Rho)*d.Sigma*s.rng.NormFloat64()
	}
	s.index++
}
