package pipeline

func init() { register(gpipeLIFO{}) }

// gpipeLIFO is GPipe as its paper draws it (arXiv:1811.06965, figure 2c): all
// forwards, then the backwards of the last microbatch first.
type gpipeLIFO struct{ looped }

func (gpipeLIFO) Name() string { return "gpipe_lifo" }

func (gpipeLIFO) Describe() string {
	return "all forwards, then all backwards, last microbatch first (GPipe, arXiv:1811.06965)"
}

func (gpipeLIFO) Check(s Shape) error { return s.checkPlain() }

func (g gpipeLIFO) Order(s Shape) ([][]Slot, error) {
	if err := g.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		order[d] = passesOf(F, d, s.Microbatches)
		for mb := s.Microbatches - 1; mb >= 0; mb-- {
			order[d] = append(order[d], Slot{Phase: B, Stage: int32(d), Microbatch: int32(mb)})
		}
	}
	return order, nil
}
