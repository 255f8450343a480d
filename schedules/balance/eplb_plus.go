package balance

import (
	"cmp"
	"slices"
)

func init() { register(eplbPlus{}) }

// eplbPlus is what UltraEP's paper compares with as EPLB+: EPLB's heuristics on
// the exact load, replicas beside main copies that stay, tokens dealt in turn.
type eplbPlus struct{}

func (eplbPlus) Name() string { return "eplb_plus" }

func (eplbPlus) Describe() string {
	return "EPLB's heuristics on the exact load, main copies stay, round-robin (EPLB+ of arXiv:2606.04101)"
}

func (eplbPlus) Params() map[string]string { return nil }

func (b eplbPlus) Start(s Setup) (Planner, error) {
	if err := s.checkMains(); err != nil {
		return nil, err
	}
	if p := s.params(b); p.err != nil {
		return nil, p.err
	}
	return &eplbPlusPlanner{setup: s, count: make([]int64, s.Experts), used: make([]int, s.Ranks), load: make([]float64, s.Ranks)}, nil
}

type eplbPlusPlanner struct {
	setup   Setup
	experts []int64
	count   []int64 // copies of each expert
	turn    []int64 // replicas of each expert that have their quota
	used    []int
	load    []float64
	mains   []Copy
	waiting []Copy
}

func (b *eplbPlusPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	p.reset(&b.setup)
	p.Routing = RoundRobin
	b.experts = load.PerExpert(b.experts)
	for e := range b.count {
		b.count[e] = 1
	}
	g := b.setup.domain()
	perDomain := b.setup.Experts / b.setup.Ranks * g
	b.waiting = b.waiting[:0]
	for d := range b.setup.Ranks / g {
		b.choose(d*perDomain, (d+1)*perDomain, g)
	}
	clear(b.load)
	clear(b.used)
	for e, n := range b.experts {
		b.load[b.setup.Home(e)] += float64(n) / float64(b.count[e])
	}
	slices.SortStableFunc(b.waiting, func(x, y Copy) int {
		return cmp.Or(cmp.Compare(y.Quota, x.Quota), cmp.Compare(x.Expert, y.Expert))
	})
	for _, c := range b.waiting {
		b.put(c, g, p)
	}
	b.quotas(p)
	return nil
}

// choose deals the slots of a domain to its experts [from, to), one replica at a
// time to the largest load a copy (ties: the lower), at most one a rank.
func (b *eplbPlusPlanner) choose(from, to, ranks int) {
	for range b.setup.Slots * ranks {
		best := -1
		for e := from; e < to; e++ {
			if b.count[e] < int64(ranks) && (best < 0 || b.experts[e]*b.count[best] > b.experts[best]*b.count[e]) {
				best = e
			}
		}
		if best < 0 {
			break // every expert is on every rank
		}
		b.count[best]++
	}
	for e := from; e < to; e++ {
		for range b.count[e] - 1 {
			b.waiting = append(b.waiting, Copy{Expert: int32(e), Quota: float64(b.experts[e]) / float64(b.count[e])})
		}
	}
}

// put places a replica on the lightest rank of its domain with a free slot that
// does not hold the expert; where there is none, it is left out.
func (b *eplbPlusPlanner) put(c Copy, ranks int, p *Plan) {
	home := b.setup.Home(int(c.Expert))
	best := -1
	for r := home / ranks * ranks; r < (home/ranks+1)*ranks; r++ {
		if b.used[r] < b.setup.Slots && r != home && (best < 0 || b.load[r] < b.load[best]) && !holds(p.Replicas, c.Expert, int32(r)) {
			best = r
		}
	}
	if best < 0 {
		return
	}
	c.Rank = int32(best)
	b.used[best]++
	b.load[best] += c.Quota
	p.Replicas = append(p.Replicas, c)
}

func holds(copies []Copy, expert, rank int32) bool {
	return slices.ContainsFunc(copies, func(c Copy) bool { return c.Expert == expert && c.Rank == rank })
}

// quotas are what dealing the tokens in turn gives each copy, the main one first.
func (b *eplbPlusPlanner) quotas(p *Plan) {
	for e := range b.count {
		b.count[e] = 1
	}
	for _, c := range p.Replicas {
		b.count[c.Expert]++
	}
	b.mains = homes(&b.setup, b.experts, b.mains)
	for e, n := range b.experts {
		b.mains[e].Quota = float64((n + b.count[e] - 1) / b.count[e])
	}
	b.turn = resize(b.turn, b.setup.Experts)
	clear(b.turn)
	for i, c := range p.Replicas {
		b.turn[c.Expert]++
		p.Replicas[i].Quota = float64((b.experts[c.Expert] + b.count[c.Expert] - 1 - b.turn[c.Expert]) / b.count[c.Expert])
	}
	p.Moved, p.Streamed = len(p.Replicas), true
	p.group(b.mains)
}
