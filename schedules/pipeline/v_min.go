package pipeline

func init() { register(vMin{}) }

// vMin keeps a third of the activations of 1F1B (Qi et al., arXiv:2405.15362): the
// building block of figure 4, reordered greedily.
type vMin struct{ vShaped }

func (vMin) Name() string { return "vmin" }

func (vMin) Describe() string {
	return "two chunks in a V, split backward, a third of the memory of 1f1b (arXiv:2405.15362)"
}

func (vMin) Check(s Shape) error { return s.checkV() }

func (v vMin) Order(s Shape) ([][]Slot, error) {
	if err := v.Check(s); err != nil {
		return nil, err
	}
	p, q := s.Devices, 0
	if p%3 == 0 {
		q = 2
	}
	return stableOrder(s, func(d int) [4]int { return [4]int{d, 2*p - d - 1, 2*p + q + d, 4*p + q - d - 1} }), nil
}
