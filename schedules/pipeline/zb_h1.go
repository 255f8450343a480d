package pipeline

func init() { register(zbH1{}) }

// zbH1 is the handcrafted zero-bubble schedule with the memory of 1F1B (Qi et
// al., arXiv:2401.10241, section 2.2): as 1F1B with the backward split, and a
// device that is further from the start puts off as many weight gradients.
type zbH1 struct{ looped }

func (zbH1) Name() string { return "zb_h1" }

func (zbH1) Describe() string {
	return "1f1b with split backward, bubble (p-1)(F+B-W), memory of 1f1b (arXiv:2401.10241)"
}

func (zbH1) Check(s Shape) error { return s.checkPlain() }

func (z zbH1) Order(s Shape) ([][]Slot, error) {
	if err := z.Check(s); err != nil {
		return nil, err
	}
	p, m := s.Devices, s.Microbatches
	order := make([][]Slot, p)
	for d := range order {
		o := newSplitOrder(d, m)
		w := min(p-1-d, m)
		o.take(F, w)
		for k := range m {
			if w+k < m {
				o.take(F, 1)
			}
			o.take(I, 1)
			if k >= d {
				o.take(W, 1)
			}
		}
		o.take(W, m-o.done[W])
		order[d] = o.slots
	}
	return order, nil
}

// splitOrder builds the order of a stage whose passes each go through the
// microbatches from first to last.
type splitOrder struct {
	stage int
	done  [4]int // passes so far, by phase
	slots []Slot
}

func newSplitOrder(stage, microbatches int) *splitOrder {
	return &splitOrder{stage: stage, slots: make([]Slot, 0, 3*microbatches)}
}

func (o *splitOrder) take(p Phase, n int) {
	for range n {
		o.slots = append(o.slots, Slot{Phase: p, Stage: int32(o.stage), Microbatch: int32(o.done[p])})
		o.done[p]++
	}
}
