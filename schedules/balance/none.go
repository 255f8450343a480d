package balance

func init() { register(none{}) }

// none leaves every expert at home.
type none struct{}

func (none) Name() string { return "none" }

func (none) Describe() string { return "no balancing: every token goes to its expert's home rank" }

func (none) Params() map[string]string { return nil }

func (b none) Start(s Setup) (Planner, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if p := s.params(b); p.err != nil {
		return nil, p.err
	}
	return &homePlanner{setup: s, freedom: MainsStay}, nil
}

// homePlanner keeps experts at home; with ForcedRouter it overrides the router.
type homePlanner struct {
	setup   Setup
	freedom Freedom
	experts []int64
	mains   []Copy
}

func (h *homePlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&h.setup); err != nil {
		return err
	}
	p.reset(&h.setup)
	h.experts = load.PerExpert(h.experts)
	h.mains = homes(&h.setup, h.experts, h.mains)
	p.Freedom, p.Routing = h.freedom, Shares
	if h.freedom == ForcedRouter {
		p.Routing = Forced
		uniform := float64(load.Total()) / float64(h.setup.Experts)
		for e := range h.mains {
			h.mains[e].Quota = uniform
		}
	}
	p.group(h.mains)
	return nil
}

// homes are the main copies with all tokens of their experts.
func homes(s *Setup, experts []int64, mains []Copy) []Copy {
	mains = resize(mains, s.Experts)
	for e, n := range experts {
		mains[e] = Copy{Expert: int32(e), Rank: int32(s.Home(e)), Quota: float64(n)}
	}
	return mains
}
