package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Routing is how the tokens of a source spread over the copies of their expert.
type Routing uint8

// Routings.
const (
	// Shares: every source splits its tokens by the copies' shares of the load;
	// fractions stand for the mean of a random choice.
	Shares Routing = iota
	// Local: copies on the source's own rank first, the rest by what the remote
	// copies still take, in whole tokens (UltraEP with LOCALITY_AWARE).
	Local
	// Proportional: by quota in whole tokens (UltraEP without).
	Proportional
	// LocalRounded and ProportionalRounded are the same by the paper's rule of
	// rounding (UltraEP's Algorithm 1).
	LocalRounded
	ProportionalRounded
	// RoundRobin: the tokens of an expert, source by source, take its copies in
	// turn (EPLB+).
	RoundRobin
	// Own: a source with a copy on its rank uses that one, others the main copy
	// (FasterMoE).
	Own
	// Forced: tokens go evenly to all experts, whatever the router said.
	Forced
)

// Router works out who sends how many tokens to whom under a plan. Its memory is
// kept from call to call.
type Router struct {
	split    []float64 // of one expert, [source][copy]
	cap      []int64
	left     []int64
	leftover []remainder
}

type remainder struct {
	of   int64
	copy int32
}

// Traffic fills dst with the tokens that go from each source rank to each target
// rank, [source x Ranks + target], their own included: the volumes of the
// dispatch, and transposed of the combine. Its columns add up to the plan's Loads.
func (r *Router) Traffic(load *Load, p *Plan, dst []float64) ([]float64, error) {
	n := load.Ranks
	if len(p.First) != load.Experts+1 || len(p.Loads) != n {
		return nil, fmt.Errorf("a plan for %d experts on %d ranks does not fit a load of %d on %d", len(p.First)-1, len(p.Loads), load.Experts, n)
	}
	dst = resize(dst, n*n)
	clear(dst)
	for e := range load.Experts {
		copies := p.Copies[p.First[e]:p.First[e+1]]
		if p.Routing.whole() && !meets(load, e, copies) {
			return nil, fmt.Errorf("the quotas of expert %d do not add up to its load: the plan was made for another load", e)
		}
		split := r.Split(load, p, e)
		for s := range n {
			for j, c := range copies {
				dst[s*n+int(c.Rank)] += split[s*len(copies)+j]
			}
		}
	}
	return dst, nil
}

// whole says whether quotas are met to the token.
func (r Routing) whole() bool {
	return r == Local || r == Proportional || r == LocalRounded || r == ProportionalRounded
}

// meets says whether whole quotas add up to an expert's load.
func meets(load *Load, e int, copies []Copy) bool {
	left := int64(0)
	for s := range load.Ranks {
		left += load.At(s, e)
	}
	for _, k := range copies {
		left -= int64(k.Quota)
	}
	return left == 0
}

// Split is how many tokens of an expert go from each source rank to each of its
// copies, [source x copies + copy], in the order of the plan's Copies. The next
// call overwrites it.
func (r *Router) Split(load *Load, p *Plan, e int) []float64 {
	copies := p.Copies[p.First[e]:p.First[e+1]]
	c := len(copies)
	r.split = resize(r.split, load.Ranks*c)
	clear(r.split)
	row := func(s int) []float64 { return r.split[s*c : (s+1)*c] }
	total, quotas := 0.0, 0.0
	for s := range load.Ranks {
		total += float64(load.At(s, e))
	}
	for _, k := range copies {
		quotas += k.Quota
	}
	switch {
	case p.Routing == Forced:
		for s := range load.Ranks {
			sum := int64(0)
			for _, n := range load.Tokens[s*load.Experts : (s+1)*load.Experts] {
				sum += n
			}
			row(s)[0] = float64(sum) / float64(load.Experts)
		}
	case c == 1:
		for s := range load.Ranks {
			row(s)[0] = float64(load.At(s, e))
		}
	case quotas == 0: // nothing to send
	case p.Routing == Local:
		r.keepLocal(load, e, copies)
		r.spread(load, e, copies)
	case p.Routing == Proportional:
		r.capacities(copies)
		r.spread(load, e, copies)
	case p.Routing == LocalRounded:
		r.keepLocal(load, e, copies)
		r.spreadRounded(load, e, copies)
	case p.Routing == ProportionalRounded:
		r.capacities(copies)
		r.spreadRounded(load, e, copies)
	case p.Routing == RoundRobin:
		next := 0
		for s := range load.Ranks {
			n := load.At(s, e)
			for j := range c {
				row(s)[(next+j)%c] = float64((n + int64(c-1-j)) / int64(c))
			}
			next = int((int64(next) + n) % int64(c))
		}
	case p.Routing == Own:
		for s := range load.Ranks {
			at := 0
			for j, k := range copies {
				if int(k.Rank) == s {
					at = j
				}
			}
			row(s)[at] = float64(load.At(s, e))
		}
	default:
		for s := range load.Ranks {
			for j, k := range copies {
				row(s)[j] = float64(load.At(s, e)) * k.Quota / total
			}
		}
	}
	return r.split
}

// keepLocal serves each source from its own rank's copy first.
func (r *Router) keepLocal(load *Load, e int, copies []Copy) {
	r.capacities(copies)
	for j, k := range copies {
		local := min(load.At(int(k.Rank), e), r.cap[j])
		r.split[int(k.Rank)*len(copies)+j] += float64(local)
		r.cap[j] -= local
	}
}

func (r *Router) capacities(copies []Copy) {
	r.cap = resize(r.cap, len(copies))
	for j, k := range copies {
		r.cap[j] = int64(k.Quota)
	}
}

// spread gives what each source has left to the copies by their capacity, the
// largest remainders rounded up (ties: the lower rank). UltraEP's kernel rounds
// every source alone, by the capacity before the first; here a source sees what
// those before it left, so that every quota is met to the token.
func (r *Router) spread(load *Load, e int, copies []Copy) {
	c := len(copies)
	capacity := int64(0)
	for _, n := range r.cap {
		capacity += n
	}
	for s := range load.Ranks {
		row := r.split[s*c : (s+1)*c]
		left := load.At(s, e)
		for _, x := range row {
			left -= int64(x)
		}
		if left == 0 {
			continue
		}
		given := int64(0)
		r.leftover = r.leftover[:0]
		r.left = resize(r.left, c)
		for j := range row {
			share, rest := mulDiv(left, r.cap[j], capacity)
			r.left[j] = share
			given += share
			if rest > 0 {
				r.leftover = append(r.leftover, remainder{rest, int32(j)})
			}
		}
		for ; given < left; given++ {
			best := 0
			for i, x := range r.leftover {
				b := r.leftover[best]
				if x.of > b.of || x.of == b.of && copies[x.copy].Rank < copies[b.copy].Rank {
					best = i
				}
			}
			r.left[r.leftover[best].copy]++
			r.leftover[best].of = -1
		}
		for j, n := range r.left {
			row[j] += float64(n)
			r.cap[j] -= n
		}
		capacity -= left
	}
}

// spreadRounded does so by the paper's rule (section 5.2): copies by rank, each
// the nearest whole number to its part of what is left (halves to even), and
// what rounding leaves to the first with room. The worked example of
// wendadawen/dojo (wiki/ultraep) is met to the token.
func (r *Router) spreadRounded(load *Load, e int, copies []Copy) {
	c := len(copies)
	byRank := r.leftover[:0]
	capacity := int64(0)
	for j, n := range r.cap {
		byRank = append(byRank, remainder{int64(copies[j].Rank), int32(j)})
		capacity += n
	}
	slices.SortFunc(byRank, func(a, b remainder) int { return cmp.Compare(a.of, b.of) })
	r.leftover = byRank
	for s := range load.Ranks {
		row := r.split[s*c : (s+1)*c]
		left := load.At(s, e)
		for _, x := range row {
			left -= int64(x)
		}
		of, total := left, capacity
		capacity -= left
		give := func(j int32, n int64) {
			row[j] += float64(n)
			r.cap[j] -= n
			left -= n
		}
		for _, b := range byRank {
			if left > 0 && r.cap[b.copy] > 0 {
				share := int64(math.RoundToEven(float64(of) * float64(r.cap[b.copy]) / float64(total)))
				give(b.copy, min(share, r.cap[b.copy], left))
			}
		}
		for _, b := range byRank {
			give(b.copy, min(left, r.cap[b.copy]))
		}
	}
}

// Remote is the share of tokens whose source and target differ; 0 without tokens.
func Remote(traffic []float64, ranks int) float64 {
	sum, own := 0.0, 0.0
	for i, x := range traffic {
		sum += x
		if i/ranks == i%ranks {
			own += x
		}
	}
	if sum == 0 {
		return 0
	}
	return (sum - own) / sum
}
