package balance

func init() { register(fasterMoE{}) }

// fasterMoE is FasterMoE's dynamic shadowing (PPoPP'22; the policy is that of
// laekov/fastmoe, fmoe/fastermoe/shadow_policy.py): the hottest experts are
// broadcast to all ranks, one after the other, as long as its model of the
// iteration gets shorter, and every rank computes its own tokens for them.
type fasterMoE struct{}

func (fasterMoE) Name() string { return "fastermoe" }

func (fasterMoE) Describe() string {
	return "the hottest experts are shadowed on every rank while a cost model gains (FasterMoE, PPoPP'22)"
}

func (fasterMoE) Params() map[string]string {
	return map[string]string{"shadows": "most experts that are shadowed, the redundant slots a rank; FasterMoE itself has no limit"}
}

func (b fasterMoE) Start(s Setup) (Planner, error) {
	if err := s.checkMains(); err != nil {
		return nil, err
	}
	if err := s.Prices.check(); err != nil {
		return nil, err
	}
	ps := s.params(b)
	return &shadowPlanner{setup: s, limit: ps.whole("shadows", 0, s.Slots, s.Slots)}, ps.err
}

type shadowPlanner struct {
	setup   Setup
	limit   int // each shadow takes a slot on every rank
	experts []int64
	mains   []Copy
}

func (b *shadowPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&b.setup); err != nil {
		return err
	}
	p.reset(&b.setup)
	p.Routing, p.Domain = Own, b.setup.Ranks
	b.experts = load.PerExpert(b.experts)
	b.mains = homes(&b.setup, b.experts, b.mains)
	for _, e := range b.shadows() {
		home := b.mains[e].Rank
		for r := range b.setup.Ranks {
			if int32(r) == home {
				b.mains[e].Quota = float64(load.At(r, e))
			} else {
				p.Replicas = append(p.Replicas, Copy{Expert: int32(e), Rank: int32(r), Quota: float64(load.At(r, e))})
			}
		}
	}
	p.Moved = len(p.Replicas)
	p.group(b.mains)
	return nil
}

// shadows are the experts that are worth it. The model (section 4.2) looks at
// the hottest expert that is left: three passes of its tokens, four transfers of
// them, and a transfer of the weights for each shadow so far.
func (b *shadowPlanner) shadows() []int {
	pr := b.setup.Prices
	perToken := 3*pr.tokenSeconds() + 4*pr.TokenBytes()/(pr.GBps*1e9)
	perShadow := float64(pr.WeightBytes()) / (pr.GBps * 1e9)
	order := heaviest(b.experts)
	best := perToken * float64(b.experts[order[0]])
	n := 0
	for n < b.limit && n+1 < len(order) {
		next := perToken*float64(b.experts[order[n+1]]) + perShadow*float64(n+1)
		if next >= best {
			break
		}
		best = next
		n++
	}
	return order[:n]
}
