package balance

import (
	"cmp"
	"fmt"
	"slices"
)

func init() { register(lplb{}) }

// lplb is DeepSeek's linear-programming load balancer (deepseek-ai/LPLB): each
// redundant slot holds a copy of an expert of one other rank, by a fixed
// topology; for every load a linear program decides how the two share.
type lplb struct{}

func (lplb) Name() string { return "lplb" }

func (lplb) Describe() string {
	return "a linear program per load over copies in a fixed topology, at most one an expert (deepseek-ai/LPLB)"
}

func (lplb) Params() map[string]string {
	return map[string]string{
		"topology": "cube_8p2e, ring_8p, hypercube_16p2e or torus_MxN; else the first of cube and ring that fits",
		"solver":   "ipm, LPLB's own five steps of an interior point method, or exact, the simplex optimum",
		"reorder":  "whether EPLB reorders the experts by past loads, true",
		"window":   "loads that an order is made from, 1",
		"interval": "loads between two reorders, 1",
	}
}

func (b lplb) Start(s Setup) (Planner, error) {
	if err := s.checkMains(); err != nil {
		return nil, err
	}
	ps := s.params(b)
	p := &lplbPlanner{setup: s, exact: ps.choice("solver", "ipm", "exact") == "exact",
		reorder: ps.truth("reorder", true), history: newHistory(ps)}
	if ps.err != nil {
		return nil, ps.err
	}
	name, named := s.Params["topology"]
	if !named {
		name = "cube_8p2e"
		if s.Slots%2 != 0 {
			name = "ring_8p"
		}
	}
	var err error
	if p.of, err = lookupTopology(name); err != nil {
		return nil, err
	}
	g, d := len(p.of), len(p.of[0])
	switch mains := s.Experts / s.Ranks; {
	case s.Ranks%g != 0:
		return nil, fmt.Errorf("topology %s has groups of %d ranks, which do not divide %d ranks", name, g, s.Ranks)
	case s.Slots < d || s.Slots%d != 0:
		return nil, fmt.Errorf("topology %s needs a multiple of %d redundant slots a rank, there are %d", name, d, s.Slots)
	case s.Slots > mains:
		return nil, fmt.Errorf("LPLB copies at most all %d experts of a rank, not %d", mains, s.Slots)
	case s.Ranks%max(s.Nodes, 1) != 0:
		return nil, fmt.Errorf("%d ranks do not divide over %d nodes", s.Ranks, s.Nodes)
	}
	p.combined = s.Slots / d
	p.order = make([]int32, s.Experts)
	for e := range p.order {
		p.order[e] = int32(e)
	}
	p.place.set(p.physical(), &s)
	return p, nil
}

type lplbPlanner struct {
	setup    Setup
	of       topology
	combined int // experts that share one variable
	exact    bool
	reorder  bool
	history  history
	order    []int32 // experts rank by rank; the first Slots of each are copied
	place    placement
	experts  []int64
	mains    []Copy
}

// Observe reorders the experts by past loads.
func (b *lplbPlanner) Observe(load *Load) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	weights := b.history.add(load)
	if !b.reorder || weights == nil {
		return nil
	}
	groups := b.setup.Ranks / len(b.of)
	if b.setup.Experts%groups != 0 {
		groups = 1
	}
	b.order = rebalance(weights, b.setup.Experts, groups, max(b.setup.Nodes, 1), b.setup.Ranks)
	mains := b.setup.Experts / b.setup.Ranks
	for r := range b.setup.Ranks {
		slices.SortStableFunc(b.order[r*mains:(r+1)*mains], func(x, y int32) int { return cmp.Compare(weights[y], weights[x]) })
	}
	b.place.set(b.physical(), &b.setup)
	return nil
}

// physical is the logical expert of each slot: a rank's own, then its copies.
func (b *lplbPlanner) physical() []int32 {
	mains, d := b.setup.Experts/b.setup.Ranks, len(b.of[0])
	out := make([]int32, 0, b.setup.Experts+b.setup.Ranks*b.setup.Slots)
	for r := range b.setup.Ranks {
		out = append(out, b.order[r*mains:(r+1)*mains]...)
		first := r / len(b.of) * len(b.of)
		for j := range b.setup.Slots {
			from := first + b.of[r-first][j%d]
			out = append(out, b.order[from*mains+j])
		}
	}
	return out
}

// Plan solves each group alone.
func (b *lplbPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	p.reset(&b.setup)
	p.Freedom, p.Domain = MainsMove, b.setup.Ranks
	b.experts = load.PerExpert(b.experts)
	mains, g, d := b.setup.Experts/b.setup.Ranks, len(b.of), len(b.of[0])
	b.mains = resize(b.mains, b.setup.Experts)
	for i, e := range b.order {
		b.mains[e] = Copy{Expert: e, Rank: int32(i / mains), Quota: float64(b.experts[e])}
	}
	for first := 0; first < b.setup.Ranks; first += g {
		shares, err := b.solve(first)
		if err != nil {
			return err
		}
		for i := range g {
			for j := range b.setup.Slots {
				from := b.of[i][j%d]
				e := b.order[(first+from)*mains+j]
				n := float64(b.experts[e])
				give := n * (1 - min(max(shares[from*d+j%d], 0), 1))
				b.mains[e].Quota = n - give
				p.Replicas = append(p.Replicas, Copy{Expert: e, Rank: int32(first + i), Quota: give})
			}
		}
	}
	p.Physical = b.place.physical
	p.Moved, b.place.moved = b.place.moved, 0
	p.group(b.mains)
	return nil
}

// solve is the share of each copied load that stays with its owner, [rank][slot
// of the topology], in the group that begins with a rank.
func (b *lplbPlanner) solve(first int) ([]float64, error) {
	mains, g, d := b.setup.Experts/b.setup.Ranks, len(b.of), len(b.of[0])
	problem := &sharing{of: b.of, dup: make([][]float64, g), fixed: make([]float64, g)}
	for i := range g {
		problem.dup[i] = make([]float64, d)
		for j, e := range b.order[(first+i)*mains : (first+i+1)*mains] {
			problem.unit = max(problem.unit, float64(b.experts[e]))
			if j < b.setup.Slots {
				problem.dup[i][j%d] += float64(b.experts[e])
			} else {
				problem.fixed[i] += float64(b.experts[e])
			}
		}
	}
	if b.exact {
		return problem.exact()
	}
	shares, _ := problem.interiorPoint()
	return shares, nil
}
