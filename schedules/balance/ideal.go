package balance

func init() { register(ideal{}) }

// ideal overrides the router so that every expert gets the same number of
// tokens: what UltraEP's paper measures as Ideal, with Megatron-LM's
// moe_router_force_load_balancing. It is a yardstick, no way to train.
type ideal struct{}

func (ideal) Name() string { return "ideal" }

func (ideal) Describe() string {
	return "the router is forced to spread tokens evenly over experts (Megatron-LM moe_router_force_load_balancing)"
}

func (ideal) Params() map[string]string { return nil }

func (b ideal) Start(s Setup) (Planner, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if p := s.params(b); p.err != nil {
		return nil, p.err
	}
	return &homePlanner{setup: s, freedom: ForcedRouter}, nil
}
