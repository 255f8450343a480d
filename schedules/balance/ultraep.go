package balance

import "fmt"

func init() { register(ultraEP{}) }

// ultraEP is UltraEP (arXiv:2606.04101v3) as its authors ship it
// (Dots-Infra/UltraEP v1.0.0), which is not the algorithm that the paper prints:
// see ultraep_algorithm1.
type ultraEP struct{}

func (ultraEP) Name() string { return "ultraep" }

func (ultraEP) Describe() string {
	return "exact load, quotas to replicas inside an NVLink domain (UltraEP v1.0.0, arXiv:2606.04101)"
}

func (ultraEP) Params() map[string]string {
	return map[string]string{
		"balance_threshold": "load over the mean that is good enough, 1.0",
		"quota_oracle_eps":  "what the first target allows above it, 0.01",
		"min_tokens":        "least tokens of a replica where the fast path failed, 1024",
		"allow_zero_master": "whether a main copy may give all its tokens away, false",
		"locality":          "whether a source uses copies on its own rank first, true",
	}
}

// Limits of the shipped planner: one thread block holds a domain in shared memory.
const (
	ultraMaxRanks    = 72
	ultraMaxExperts  = 512
	ultraMaxReplicas = 512
)

// ultraOptions are the planner's; the names are the shipped environment's.
type ultraOptions struct {
	threshold  float64 // BALANCE_THRESHOLD
	eps        float32 // QUOTA_ORACLE_EPS
	minTokens  int64   // MIN_TOKENS_PER_REPLICA
	zeroMaster bool    // ALLOW_ZERO_MASTER
	locality   bool    // LOCALITY_AWARE
	literal    bool    // the paper's Algorithm 1
	beta       float64 // of Algorithm 1
}

func (b ultraEP) Start(s Setup) (Planner, error) {
	p := s.params(b)
	o := ultraOptions{
		threshold:  p.number("balance_threshold", 0, 1000, 1),
		eps:        float32(p.number("quota_oracle_eps", 0, 1000, 0.01)),
		minTokens:  int64(p.whole("min_tokens", 1, 1<<30, 1024)),
		zeroMaster: p.truth("allow_zero_master", false),
		locality:   p.truth("locality", true),
	}
	return startUltra(s, o, p.err)
}

func startUltra(s Setup, o ultraOptions, err error) (Planner, error) {
	if err != nil {
		return nil, err
	}
	if err := s.checkMains(); err != nil {
		return nil, err
	}
	g, experts := s.domain(), s.Experts/s.Ranks*s.domain()
	if g > ultraMaxRanks || experts > ultraMaxExperts {
		return nil, fmt.Errorf("UltraEP's planner holds NVLink domains of at most %d ranks and %d experts; these have %d and %d: set a smaller domain", ultraMaxRanks, ultraMaxExperts, g, experts)
	}
	return &ultraPlanner{setup: s, options: o, solver: newQuotaSolver(g, experts/g, s.Slots, o)}, nil
}

type ultraPlanner struct {
	setup   Setup
	options ultraOptions
	solver  *quotaSolver
	experts []int64
	mains   []Copy
}

// Plan solves each NVLink domain alone. It allocates nothing once p has grown.
func (u *ultraPlanner) Plan(load *Load, p *Plan) error {
	if err := load.fits(&u.setup); err != nil {
		return err
	}
	p.reset(&u.setup)
	p.Routing = u.options.routing()
	u.experts = load.PerExpert(u.experts)
	u.mains = homes(&u.setup, u.experts, u.mains)
	size := len(u.solver.exported)
	for d := range u.setup.Ranks / u.solver.ranks {
		first, rank := d*size, d*u.solver.ranks
		u.solver.solve(u.experts[first : first+size])
		p.Target = max(p.Target, u.solver.tau)
		for _, t := range u.solver.plan {
			e := int32(first) + t.expert
			u.mains[e].Quota -= float64(t.quota)
			p.Replicas = append(p.Replicas, Copy{Expert: e, Rank: int32(rank) + t.target, Quota: float64(t.quota)})
		}
	}
	p.Moved, p.Streamed = len(p.Replicas), true // the slots are shared by all layers: weights are sent anew each time
	p.group(u.mains)
	return nil
}

func (o ultraOptions) routing() Routing {
	switch {
	case o.literal && o.locality:
		return LocalRounded
	case o.literal:
		return ProportionalRounded
	case o.locality:
		return Local
	}
	return Proportional
}
