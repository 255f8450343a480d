package packing

import "math"

// solve finds groups that finish within t and take as few lanes as it can, nil
// where they do not fit the lanes. Variables: k_d groups of degree d and n_bd samples
// of bucket b on them.
//
//	min  sum_d d k_d
//	     sum_d n_bd = samples of b
//	     sum_b n_bd time_bd   <= t k_d
//	     sum_b n_bd tokens_b  <= d perLane k_d
//
// Branch and bound over the counts k_d, from the widest degree down. Lane-time rises
// with the degree, so a sample belongs on the smallest degree that finishes it within
// t, and wider groups take others only to be full: a degree has as many groups as its
// own samples need, or one more. n_bd may be fractions; they are rounded later.
func (p *groups) solve(t float64) *grouping {
	s := solver{p: p, t: t, best: p.lanes + 1, count: make([]int, len(p.degrees)), share: make([][]float64, len(p.buckets)),
		left: make([]float64, len(p.buckets)), need: make([]int, len(p.buckets))}
	for b := range p.buckets {
		s.left[b], s.share[b], s.need[b] = float64(len(p.buckets[b].samples)), make([]float64, len(p.degrees)), -1
		for d := p.buckets[b].first; d < len(p.degrees); d++ {
			if p.time(b, d) <= t {
				s.need[b] = d
				break
			}
		}
		if s.need[b] < 0 {
			return nil
		}
	}
	s.branch(len(p.degrees)-1, 0)
	return s.found
}

// solver is the state of solve.
type solver struct {
	p     *groups
	t     float64
	need  []int // smallest degree of each bucket
	left  []float64
	share [][]float64
	count []int
	best  int // lanes of found
	found *grouping
}

// branch decides the groups of degree d and below, with so many lanes taken.
func (s *solver) branch(d, lanes int) {
	if lanes >= s.best {
		return
	}
	if d < 0 {
		s.best = lanes
		s.found = &grouping{count: append([]int(nil), s.count...)}
		for _, row := range s.share {
			s.found.share = append(s.found.share, append([]float64(nil), row...))
		}
		return
	}
	// Samples that need this degree, in groups: by time and by tokens.
	time, tokens, others := 0.0, 0.0, false
	for b, n := range s.left {
		if s.need[b] == d {
			u, v := s.load(b, d)
			time, tokens = time+n*u, tokens+n*v
		} else if s.need[b] < d && n > 0 {
			others = true
		}
	}
	least := int(math.Ceil(max(time, tokens) - 1e-9))
	before := append([]float64(nil), s.left...)
	for k := least; k <= least+1; k++ {
		if k > least && !others {
			break
		}
		s.count[d] = k
		s.fill(d, float64(k)-time, float64(k)-tokens)
		s.branch(d-1, lanes+k*s.p.degrees[d])
		copy(s.left, before)
		for b := range s.share {
			s.share[b][d] = 0
		}
	}
	s.count[d] = 0
}

// load is the share of a group's time and tokens that a sample takes.
func (s *solver) load(b, d int) (time, tokens float64) {
	return s.p.time(b, d) / s.t, s.p.buckets[b].tokens / float64(s.p.degrees[d]*s.p.perLane)
}

// fill puts the samples that need degree d there, and of the others, longest first,
// what there is room for.
func (s *solver) fill(d int, time, tokens float64) {
	for b, n := range s.left {
		if s.need[b] == d {
			s.share[b][d], s.left[b] = n, 0
			continue
		}
		if s.need[b] > d || n == 0 {
			continue
		}
		u, v := s.load(b, d)
		n = max(0, min(n, time/u, tokens/v))
		s.share[b][d], s.left[b] = n, s.left[b]-n
		time, tokens = time-n*u, tokens-n*v
	}
}
