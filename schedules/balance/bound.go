package balance

import (
	"cmp"
	"math"
	"slices"
)

// Bound is a load that some rank must reach under any plan.
type Bound struct {
	Tokens float64
	// By names the argument: "mean" (all ranks alike), "receivers" (some ranks
	// cannot fill up), "senders" (more copies are needed than there are slots).
	By string
}

// LowerBound is a certified lower bound on the largest load of a rank, for all
// plans of the setup with the given freedom and domain (0 is all ranks). It is
// the smallest tau at which no argument shows that tau is out of reach:
//
//   - mean: the ranks of a domain take tau each.
//   - receivers: the max flow from experts to ranks, where a rank takes its own
//     experts and at most the largest copies that fit its slots, and no more than
//     tau in all; its minimum cut is sum of min(tau, own + copies).
//   - senders: a rank above tau must give away the difference, in copies of at
//     most min(load of the expert, tau); so many slots there must be.
//
// Arguments are monotone in tau: below the bound at least one holds, so the
// bound needs no trust in a solver. Fractional quotas are allowed for, so that it
// holds for all balancers; it may lie below the best plan.
func LowerBound(load *Load, s Setup, freedom Freedom, domain int) (Bound, error) {
	if err := s.check(); err != nil {
		return Bound{}, err
	}
	if err := load.fits(&s); err != nil {
		return Bound{}, err
	}
	experts := load.PerExpert(nil)
	if domain <= 0 || domain > s.Ranks || s.Ranks%domain != 0 {
		domain = s.Ranks
	}
	switch freedom {
	case ForcedRouter:
		return Bound{float64(load.Total()) / float64(s.Ranks), "mean"}, nil
	case MainsMove:
		return boundOf(newFreeProof(experts, &s)), nil
	}
	best := Bound{By: "mean"}
	for d := range s.Ranks / domain {
		if b := boundOf(newDomainProof(experts, &s, d*domain, domain)); b.Tokens > best.Tokens {
			best = b
		}
	}
	return best, nil
}

// proof says why no plan stays below tau: "" where no argument holds.
type proof interface {
	mean() float64
	most() float64 // a load that can be reached
	against(tau float64) string
}

func boundOf(p proof) Bound {
	lo := p.mean()
	by := p.against(lo)
	if by == "" {
		return Bound{lo, "mean"}
	}
	hi := max(lo, p.most())
	for hi-lo > 1e-9*hi { // lo stays out of reach
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			break
		}
		if why := p.against(mid); why != "" {
			lo, by = mid, why
		} else {
			hi = mid
		}
	}
	return Bound{lo, by}
}

// domainProof is about main copies that stay, in one domain.
type domainProof struct {
	ranks, slots int
	own          []float64   // by rank of the domain
	experts      [][]float64 // loads of a rank's own experts, heaviest first
	heaviest     []hosted    // all experts of the domain, heaviest first
}

type hosted struct {
	load float64
	home int
}

func newDomainProof(experts []int64, s *Setup, first, ranks int) *domainProof {
	d := &domainProof{ranks: ranks, slots: s.Slots, own: make([]float64, ranks), experts: make([][]float64, ranks)}
	for e, n := range experts {
		if home := s.Home(e) - first; home >= 0 && home < ranks {
			d.own[home] += float64(n)
			d.experts[home] = append(d.experts[home], float64(n))
			d.heaviest = append(d.heaviest, hosted{float64(n), home})
		}
	}
	slices.SortStableFunc(d.heaviest, func(a, b hosted) int { return cmp.Compare(b.load, a.load) })
	for _, l := range d.experts {
		slices.SortFunc(l, func(a, b float64) int { return cmp.Compare(b, a) })
	}
	return d
}

func (d *domainProof) mean() float64 { return sum(d.own) / float64(d.ranks) }
func (d *domainProof) most() float64 { return slices.Max(d.own) }

func (d *domainProof) against(tau float64) string {
	total := sum(d.own)
	cut := 0.0
	for t, own := range d.own {
		room, left := own, d.slots
		for _, h := range d.heaviest {
			if left == 0 || room >= tau {
				break
			}
			if h.home != t {
				room += min(h.load, tau)
				left--
			}
		}
		cut += min(tau, room)
	}
	if below(cut, total) {
		return "receivers"
	}
	copies := 0
	for r, own := range d.own {
		copies += leastCopies(d.experts[r], own-tau, tau)
	}
	if copies > d.ranks*d.slots {
		return "senders"
	}
	return ""
}

// below says that a is less than b by more than rounding: a proof must not rest
// on the last bits.
func below(a, b float64) bool { return a < b*(1-1e-12) }

// leastCopies is the fewest copies that can take `excess` tokens from a rank,
// when one copy of an expert takes at most min(its load, tau). Experts are
// heaviest first; math.MaxInt32 where all copies are too few.
func leastCopies(experts []float64, excess, tau float64) int {
	if excess <= 1e-12*tau {
		return 0
	}
	n := 0
	var rests []float64
	for _, l := range experts { // whole copies of tau first: nothing is larger
		whole := math.Floor(l / tau)
		if take := math.Ceil(excess/tau - 1e-12); whole >= take {
			return n + int(take)
		}
		n += int(whole)
		excess -= whole * tau
		rests = append(rests, l-whole*tau)
	}
	slices.SortFunc(rests, func(a, b float64) int { return cmp.Compare(b, a) })
	for _, l := range rests {
		if excess <= 1e-12*tau {
			return n
		}
		n++
		excess -= l
	}
	if excess <= 1e-9*tau {
		return n
	}
	return math.MaxInt32
}

// freeProof is about any placement of the physical experts.
type freeProof struct {
	ranks, physical, perRank int
	loads                    []float64 // of experts, heaviest first
}

func newFreeProof(experts []int64, s *Setup) *freeProof {
	f := &freeProof{ranks: s.Ranks, physical: max(s.physical(), s.Experts)}
	f.perRank = (f.physical + s.Ranks - 1) / s.Ranks
	for _, n := range experts {
		f.loads = append(f.loads, float64(n))
	}
	slices.SortFunc(f.loads, func(a, b float64) int { return cmp.Compare(b, a) })
	return f
}

func (f *freeProof) mean() float64 { return sum(f.loads) / float64(f.ranks) }
func (f *freeProof) most() float64 { return sum(f.loads) }

func (f *freeProof) against(tau float64) string {
	if tau == 0 {
		return ""
	}
	room := 0.0
	for i := range min(f.perRank, len(f.loads)) {
		room += min(f.loads[i], tau)
	}
	if below(min(room, tau)*float64(f.ranks), sum(f.loads)) {
		return "receivers"
	}
	copies := 0.0
	for _, l := range f.loads {
		copies += max(1, math.Ceil(l/tau-1e-12))
	}
	if copies > float64(f.physical) {
		return "senders"
	}
	return ""
}

func sum(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}
