// Package balance decides which ranks compute the tokens of which experts: it
// reads or generates expert loads, and turns a load into copies of experts with
// quotas.
//
// A balancer is one file that implements [Balancer] and calls register from
// init; the conformance test then holds it to the invariants of every balancer.
package balance

import (
	"fmt"

	"orrery/sim/unit"
)

// Setup is what stays the same from layer to layer: who there is, and how much
// room for copies there is.
type Setup struct {
	Ranks   int // ranks of the expert-parallel group
	Experts int // routed experts of a layer
	Slots   int // redundant slots on each rank, beside its own experts
	// Replicas counts the physical experts over all ranks where a balancer fills
	// them all (EPLB's num_replicas); 0 means Experts + Ranks x Slots.
	Replicas int
	Groups   int // groups of experts that EPLB keeps on a node; 0 counts as 1
	Nodes    int // nodes of the ranks, for EPLB; 0 counts as 1
	// Domain is the ranks of one NVLink domain: copies of an expert stay in its
	// home's. 0 means all ranks.
	Domain int
	// Prices are for the balancers that weigh gain against transfer.
	Prices Prices
	// Params are the balancer's own (see Balancer.Params); absent keys take
	// their defaults.
	Params map[string]string
}

// Prices are what the cost models of FasterMoE and FlexMoE take.
type Prices struct {
	Hidden, FFN int        // an expert is three matrices of Hidden x FFN
	DType       unit.DType // of weights and tokens
	TFLOPS      float64    // achieved by the grouped GEMM, 1e12 FLOP/s a rank
	GBps        float64    // of a rank to the others, 1e9 B/s in one direction
}

// Qwen3Prices are of one expert of Qwen3-235B in bf16 on the testbed of UltraEP
// (arXiv:2606.04101): 8192 x 8 tokens of 18.87 M parameters in 1.89 ms (its
// figure 13) and 733 GB/s of weight distribution (fitted to its figure 16).
func Qwen3Prices() Prices {
	return Prices{Hidden: 4096, FFN: 1536, DType: unit.BF16, TFLOPS: 1310, GBps: 733}
}

// Params counts an expert's parameters.
func (p Prices) Params() int64 { return 3 * int64(p.Hidden) * int64(p.FFN) }

// WeightBytes is one expert's weights.
func (p Prices) WeightBytes() unit.Bytes {
	return unit.Bytes(float64(p.Params()) * p.DType.Bytes())
}

// TokenBytes is one token on its way to an expert.
func (p Prices) TokenBytes() float64 { return float64(p.Hidden) * p.DType.Bytes() }

// tokenSeconds is the forward pass of one token through one expert.
func (p Prices) tokenSeconds() float64 { return 2 * float64(p.Params()) / (p.TFLOPS * 1e12) }

func (p Prices) check() error {
	if p.Hidden < 1 || p.FFN < 1 || !p.DType.Valid() || !(p.TFLOPS > 0) || !(p.GBps > 0) {
		return fmt.Errorf("prices need the expert's hidden size (%d), FFN size (%d) and dtype (%q), TFLOPS (%g) and GB/s (%g), all above 0",
			p.Hidden, p.FFN, p.DType, p.TFLOPS, p.GBps)
	}
	return nil
}

// Home is the rank of an expert's main copy before any balancing: contiguous
// blocks, Experts/Ranks to a rank where that divides.
func (s Setup) Home(expert int) int { return expert * s.Ranks / s.Experts }

// physical is the number of physical experts over all ranks.
func (s Setup) physical() int {
	if s.Replicas > 0 {
		return s.Replicas
	}
	return s.Experts + s.Ranks*s.Slots
}

// domain is the ranks of an NVLink domain.
func (s Setup) domain() int {
	if s.Domain > 0 {
		return s.Domain
	}
	return s.Ranks
}

// Most ranks and experts of a setup: far above any system, and small enough that
// their product is no risk.
const (
	maxRanks   = 1 << 14
	maxExperts = 1 << 14
)

// check is what every balancer demands.
func (s Setup) check() error {
	switch {
	case s.Ranks < 1 || s.Ranks > maxRanks:
		return fmt.Errorf("ranks are %d, must be 1 to %d", s.Ranks, maxRanks)
	case s.Experts < 1 || s.Experts > maxExperts:
		return fmt.Errorf("experts are %d, must be 1 to %d", s.Experts, maxExperts)
	case s.Slots < 0 || s.Slots > s.Experts:
		return fmt.Errorf("redundant slots are %d, must be 0 to the number of experts, %d", s.Slots, s.Experts)
	case s.Replicas < 0 || s.Groups < 0 || s.Nodes < 0 || s.Domain < 0:
		return fmt.Errorf("replicas (%d), groups (%d), nodes (%d) and domain (%d) cannot be negative", s.Replicas, s.Groups, s.Nodes, s.Domain)
	case s.Domain > 0 && (s.Domain > s.Ranks || s.Ranks%s.Domain != 0):
		return fmt.Errorf("an NVLink domain of %d ranks does not divide %d ranks", s.Domain, s.Ranks)
	}
	return nil
}

// checkMains is for balancers whose main copies stay where they are.
func (s Setup) checkMains() error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Experts%s.Ranks != 0 {
		return fmt.Errorf("%d experts do not divide over %d ranks, which this balancer needs", s.Experts, s.Ranks)
	}
	if s.Replicas > 0 && s.Replicas != s.Experts+s.Ranks*s.Slots {
		return fmt.Errorf("replicas are %d, but main copies stay and %d slots a rank make at most %d physical experts", s.Replicas, s.Slots, s.Experts+s.Ranks*s.Slots)
	}
	return nil
}

// Copy is one copy of an expert that computes tokens.
type Copy struct {
	Expert, Rank int32
	Quota        float64 // tokens it computes; fractions where only the mean is decided
}

// Freedom is what a balancer may do; it decides which lower bound holds for it.
type Freedom uint8

// Freedoms, from the least.
const (
	MainsStay    Freedom = iota // replicas are added, the main copies stay at home
	MainsMove                   // any placement of the physical experts
	ForcedRouter                // the router is overridden: what tokens asked for is ignored
)

// Plan is what a balancer decides for one layer and microbatch.
type Plan struct {
	// Copies of every expert, by expert; the main copy is the first of each, its
	// replicas follow in the order they were planned. Expert e's are
	// Copies[First[e]:First[e+1]]. Quotas of an expert add up to its load (not
	// with ForcedRouter). Copies without tokens are there too: they hold memory.
	Copies []Copy
	First  []int32
	// Replicas are all copies but the main ones, in the order they were planned.
	Replicas []Copy
	// Loads are the tokens that each rank computes.
	Loads []float64
	// Physical is the logical expert of each physical one, rank by rank (EPLB's
	// phy2log); nil where the balancer does not fill physical slots.
	Physical []int32
	// Routing says how a source's tokens spread over the copies.
	Routing Routing
	Freedom Freedom
	// Domain is the ranks that copies of an expert stay within.
	Domain int
	// Moved counts the expert weights that had to be sent for this plan: copies
	// on ranks that did not hold them under the plan before.
	Moved int
	// Streamed: the weights of all replicas are sent for this very plan, by
	// [Plan.FanOut]; else they are broadcast (FasterMoE) or last from plan to plan.
	Streamed bool
	// Target is the load that no rank exceeds, where the balancer has one (tau).
	Target int64
}

// Planner decides for one layer, microbatch by microbatch. Those that look back
// also implement [Learner].
type Planner interface {
	// Plan decides for the load, overwriting p and reusing its slices.
	Plan(load *Load, p *Plan) error
}

// Learner is a planner that decides from loads of the past: Plan uses what was
// observed before, so a first plan knows nothing.
type Learner interface{ Observe(load *Load) error }

// Balancer is a way of balancing.
type Balancer interface {
	// Name is the balancer's name in scenarios ("ultraep").
	Name() string
	// Describe is one line for lists, with the source.
	Describe() string
	// Params are the keys of Setup.Params with what they mean.
	Params() map[string]string
	// Start makes a planner, or says what is wrong with the setup.
	Start(Setup) (Planner, error)
}

// reset empties a plan for a setup.
func (p *Plan) reset(s *Setup) {
	p.Copies, p.Replicas, p.Physical = p.Copies[:0], p.Replicas[:0], nil
	p.First = resize(p.First, s.Experts+1)
	p.Loads = resize(p.Loads, s.Ranks)
	clear(p.Loads)
	p.Domain, p.Moved, p.Target, p.Streamed = s.domain(), 0, 0, false
	p.Routing, p.Freedom = Shares, MainsStay
}

// group sorts Copies by expert, main first, from the main copies' ranks and
// quotas and from Replicas; it fills First and Loads.
func (p *Plan) group(mains []Copy) {
	clear(p.First)
	for _, c := range p.Replicas {
		p.First[c.Expert+1]++
	}
	for e := range mains {
		p.First[e+1] += p.First[e] + 1
	}
	p.Copies = resize(p.Copies, len(mains)+len(p.Replicas))
	for e, c := range mains {
		p.Copies[p.First[e]] = c
		p.Loads[c.Rank] += c.Quota
		p.First[e]++
	}
	for _, c := range p.Replicas {
		p.Copies[p.First[c.Expert]] = c
		p.Loads[c.Rank] += c.Quota
		p.First[c.Expert]++
	}
	copy(p.First[1:], p.First[:len(mains)])
	p.First[0] = 0
}

// MaxFanOut is the most replicas that any expert has.
func (p *Plan) MaxFanOut() int {
	most := int32(0)
	for e := range len(p.First) - 1 {
		most = max(most, p.First[e+1]-p.First[e]-1)
	}
	return int(most)
}

// Imbalance is the largest load over the mean; 1 where there is no load.
func Imbalance(loads []float64) float64 {
	sum, most := 0.0, 0.0
	for _, l := range loads {
		sum, most = sum+l, max(most, l)
	}
	if sum == 0 {
		return 1
	}
	return most * float64(len(loads)) / sum
}

// resize is s with length n; its content is whatever was there.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
