package balance

import "fmt"

func init() { register(eplb{}) }

// eplb is DeepSeek's expert-parallel load balancer (deepseek-ai/EPLB @d52c72d).
// It places copies by the loads of the past and keeps them until it is run
// again; each copy gets an even part of its expert's tokens.
type eplb struct{}

func (eplb) Name() string { return "eplb" }

func (eplb) Describe() string {
	return "redundant experts placed by past loads, hierarchical where groups divide over nodes (deepseek-ai/EPLB)"
}

func (eplb) Params() map[string]string {
	return map[string]string{
		"window":   "loads that a placement is made from, 1",
		"interval": "loads between two placements, 1",
	}
}

// checkPhysical holds the setup to what EPLB asserts.
func (s Setup) checkPhysical() error {
	if err := s.check(); err != nil {
		return err
	}
	groups, nodes, physical := max(s.Groups, 1), max(s.Nodes, 1), s.physical()
	switch {
	case s.Experts%groups != 0:
		return fmt.Errorf("%d experts do not divide into %d groups", s.Experts, groups)
	case s.Ranks%nodes != 0:
		return fmt.Errorf("%d ranks do not divide over %d nodes", s.Ranks, nodes)
	case physical < s.Experts:
		return fmt.Errorf("%d physical experts cannot hold %d experts", physical, s.Experts)
	case physical%s.Ranks != 0:
		return fmt.Errorf("%d physical experts do not divide over %d ranks", physical, s.Ranks)
	case physical > maxRanks*16:
		return fmt.Errorf("%d physical experts are more than %d", physical, maxRanks*16)
	}
	return nil
}

func (b eplb) Start(s Setup) (Planner, error) {
	if err := s.checkPhysical(); err != nil {
		return nil, err
	}
	ps := s.params(b)
	e := &eplbPlanner{setup: s, history: newHistory(ps)}
	return e, ps.err
}

// history is what a placement is made from, and when.
type history struct {
	window, interval int
	loads            [][]int64 // the last loads per expert, at most window, as a ring
	seen             int
}

func newHistory(ps *params) history {
	return history{window: ps.whole("window", 1, 1<<20, 1), interval: ps.whole("interval", 1, 1<<20, 1)}
}

// add remembers a load; after every interval loads it returns the sums per expert
// that a placement is to be made from, else nil.
func (h *history) add(load *Load) []float32 {
	if len(h.loads) < h.window {
		h.loads = append(h.loads, nil)
	}
	at := h.seen % h.window
	h.loads[at] = load.PerExpert(h.loads[at])
	if h.seen++; h.seen%h.interval != 0 {
		return nil
	}
	weights := make([]float32, load.Experts)
	for e := range weights {
		sum := int64(0)
		for _, l := range h.loads {
			sum += l[e]
		}
		weights[e] = float32(sum)
	}
	return weights
}

type eplbPlanner struct {
	setup   Setup
	history history
	place   placement
	experts []int64
}

// Observe remembers a load, and places anew after every interval loads.
func (b *eplbPlanner) Observe(load *Load) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	if weights := b.history.add(load); weights != nil {
		b.place.set(rebalance(weights, b.setup.physical(), max(b.setup.Groups, 1), max(b.setup.Nodes, 1), b.setup.Ranks), &b.setup)
	}
	return nil
}

// Plan spreads the load over the copies that there are; before the first
// placement, every expert is at home and has no copy.
func (b *eplbPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	p.reset(&b.setup)
	p.Freedom, p.Domain = MainsMove, b.setup.Ranks
	b.experts = load.PerExpert(b.experts)
	b.place.fill(&b.setup, b.experts, p)
	return nil
}

// placement is a set of physical experts that lasts from load to load.
type placement struct {
	physical []int32 // the logical expert of each; nil before the first placement
	mains    []Copy
	count    []int
	moved    int // copies that the next plan has to fetch
}

// set replaces the placement, and counts what it moves.
func (l *placement) set(physical []int32, s *Setup) {
	type at struct{ expert, rank int32 }
	held := map[at]bool{}
	if l.physical == nil {
		for e := range s.Experts {
			held[at{int32(e), int32(s.Home(e))}] = true
		}
	}
	for i, e := range l.physical {
		held[at{e, int32(i / (len(l.physical) / s.Ranks))}] = true
	}
	for i, e := range physical {
		if a := (at{e, int32(i / (len(physical) / s.Ranks))}); !held[a] {
			held[a] = true // a second copy on the rank is no second transfer
			l.moved++
		}
	}
	l.physical = physical
}

// fill gives every copy an even part of its expert's tokens.
func (l *placement) fill(s *Setup, experts []int64, p *Plan) {
	if l.physical == nil {
		l.mains = homes(s, experts, l.mains)
		p.group(l.mains)
		return
	}
	l.mains, l.count = resize(l.mains, s.Experts), resize(l.count, s.Experts)
	clear(l.count)
	for _, e := range l.physical {
		l.count[e]++
	}
	for e := range l.mains {
		l.mains[e].Rank = -1
	}
	for i, e := range l.physical {
		c := Copy{Expert: e, Rank: int32(i / (len(l.physical) / s.Ranks)), Quota: float64(experts[e]) / float64(l.count[e])}
		if l.mains[e].Rank < 0 {
			l.mains[e] = c
		} else {
			p.Replicas = append(p.Replicas, c)
		}
	}
	p.Physical = l.physical
	p.Moved, l.moved = l.moved, 0
	p.group(l.mains)
}

// LogicalToPhysical are the physical experts of each logical one (log2phy) and
// how many there are (logcnt).
func LogicalToPhysical(physical []int32, experts int) (log2phy [][]int32, logcnt []int) {
	log2phy, logcnt = make([][]int32, experts), make([]int, experts)
	for i, e := range physical {
		log2phy[e] = append(log2phy[e], int32(i))
		logcnt[e]++
	}
	return log2phy, logcnt
}
