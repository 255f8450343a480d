package pipeline

func init() { register(gpipe{}) }

// gpipe is GPipe (Huang et al. 2019, arXiv:1811.06965, section 2.3): all
// forwards, then all backwards. The backwards run in the order of the
// microbatches, as PyTorch's ScheduleGPipe has them; the paper's reverse order
// takes the same time.
type gpipe struct{ looped }

func (gpipe) Name() string { return "gpipe" }

func (gpipe) Describe() string {
	return "all forwards, then all backwards; holds every microbatch (GPipe, arXiv:1811.06965)"
}

func (gpipe) Check(s Shape) error { return s.checkPlain() }

func (g gpipe) Order(s Shape) ([][]Slot, error) {
	if err := g.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		order[d] = append(passesOf(F, d, s.Microbatches), passesOf(B, d, s.Microbatches)...)
	}
	return order, nil
}
