package pipeline

func init() { register(zbH2{}) }

// zbH2 is the handcrafted schedule without bubbles between a device's first and
// last pass (arXiv:2401.10241, section 2.2): more forwards before the first
// backward, and up to 2p-1 microbatches held.
type zbH2 struct{ looped }

func (zbH2) Name() string { return "zb_h2" }

func (zbH2) Describe() string {
	return "split backward, no bubble inside a device's span where F = B = W, 2p-1 microbatches (arXiv:2401.10241)"
}

func (zbH2) Check(s Shape) error { return s.checkPlain() }

func (z zbH2) Order(s Shape) ([][]Slot, error) {
	if err := z.Check(s); err != nil {
		return nil, err
	}
	p, m := s.Devices, s.Microbatches
	order := make([][]Slot, p)
	for d := range order {
		o := newSplitOrder(d, m)
		o.take(F, min(2*(p-1-d)+1, m))
		for k := range m {
			o.take(I, 1)
			if k >= 2*d {
				o.take(W, 1)
			}
			if o.done[F] < m {
				o.take(F, 1)
			}
		}
		o.take(W, m-o.done[W])
		order[d] = o.slots
	}
	return order, nil
}
