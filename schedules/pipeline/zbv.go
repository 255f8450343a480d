package pipeline

func init() { register(zbV{}) }

// zbV is ZB-V (Qi et al., arXiv:2405.15362; the order is PyTorch's
// ScheduleZBVZeroBubble): two chunks a device in the shape of a V, no bubble
// inside a device's span where F = B = W, the memory of 1F1B.
type zbV struct{ vShaped }

func (zbV) Name() string { return "zbv" }

func (zbV) Describe() string {
	return "two chunks in a V, split backward, no bubble where F = B = W, memory of 1f1b (arXiv:2405.15362)"
}

func (zbV) Check(s Shape) error { return s.checkV() }

func (z zbV) Order(s Shape) ([][]Slot, error) {
	if err := z.Check(s); err != nil {
		return nil, err
	}
	p, m := s.Devices, s.Microbatches
	most := max(2*p-1, m) // what is over m is left out
	order := make([][]Slot, p)
	for d := range order {
		o := newVOrder(s, d)
		for range 2*(p-d) - 1 {
			o.take(F, 0)
		}
		for range d {
			o.take(F, 1)
			o.take(F, 0)
		}
		for range p - d {
			o.take(F, 1)
			o.takeIW(1)
		}
		for o.done[1][F] < o.done[0][F] || o.done[0][F] < most {
			if o.done[0][F] < most {
				o.take(F, 0)
			}
			o.takeIW(0)
			o.take(F, 1)
			o.takeIW(1)
		}
		for range d {
			o.take(I, 0)
			o.take(I, 1)
		}
		for range p - d {
			o.take(I, 0)
			o.take(W, 0)
		}
		for o.done[1][W] < most {
			o.take(W, 1)
		}
		for o.done[0][W] < most {
			o.take(W, 0)
		}
		order[d] = o.slots
	}
	return order, nil
}
