package pipeline

func init() { register(oneFOneB{}) }

// oneFOneB is 1F1B with a flush (PipeDream-Flush, Narayanan et al. 2021,
// arXiv:2006.09503, section 3.1; DAPPLE, arXiv:2007.01045): after p-1-d forwards
// device d alternates, so that it holds p-d microbatches at most. Any number of
// microbatches is allowed; with few, the first devices have no steady state.
type oneFOneB struct{ looped }

func (oneFOneB) Name() string { return "1f1b" }

func (oneFOneB) Describe() string {
	return "one forward, one backward; device d holds p-d microbatches (PipeDream-Flush, arXiv:2006.09503; Megatron-LM)"
}

func (oneFOneB) Check(s Shape) error { return s.checkPlain() }

func (o oneFOneB) Order(s Shape) ([][]Slot, error) {
	if err := o.Check(s); err != nil {
		return nil, err
	}
	p, m := s.Devices, s.Microbatches
	order := make([][]Slot, p)
	for d := range order {
		order[d] = oneForwardOneBackward(passesOf(F, d, m), passesOf(B, d, m), min(p-1-d, m))
	}
	return order, nil
}
