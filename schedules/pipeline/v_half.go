package pipeline

func init() { register(vHalf{}) }

// vHalf keeps half the activations of 1F1B at about its speed (Qi et al.,
// arXiv:2405.15362): the building block of figure 4, reordered greedily.
type vHalf struct{ vShaped }

func (vHalf) Name() string { return "vhalf" }

func (vHalf) Describe() string {
	return "two chunks in a V, split backward, half the memory of 1f1b (arXiv:2405.15362)"
}

func (vHalf) Check(s Shape) error { return s.checkV() }

func (v vHalf) Order(s Shape) ([][]Slot, error) {
	if err := v.Check(s); err != nil {
		return nil, err
	}
	p, q := s.Devices, 0
	if p%2 == 0 {
		q = 3
	}
	return stableOrder(s, func(d int) [4]int { return [4]int{2 * d, 3*p - d - 2, 3*p + q + 2*d - 1, 6*p + q - d - 2} }), nil
}
