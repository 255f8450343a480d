package pipeline

import "fmt"

func init() { register(dualPipeV{}) }

// dualPipeV is DualPipe cut in half (deepseek-ai/DualPipe, dualpipev.py, and
// PyTorch's ScheduleDualPipeV): two chunks a device in the shape of a V, with
// forwards and backwards of the two in pairs that overlap.
type dualPipeV struct{ vShaped }

func (dualPipeV) Name() string { return "dualpipev" }

func (dualPipeV) Describe() string {
	return "two chunks in a V, forward and backward of different microbatches overlapped (deepseek-ai/DualPipe)"
}

func (dualPipeV) Overlaps() bool { return true }

func (dualPipeV) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	if s.Microbatches < 2*s.Devices {
		return fmt.Errorf("%d microbatches are fewer than twice the %d devices; %d would do", s.Microbatches, s.Devices, 2*s.Devices)
	}
	return s.checkV()
}

func (v dualPipeV) Order(s Shape) ([][]Slot, error) {
	if err := v.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		o := &dualOrder{stage: [2]int{d, 2*s.Devices - 1 - d}}
		o.body(s.Devices, d, s.Microbatches)
		order[d] = o.slots
	}
	return order, nil
}

// dualOrder builds a device's order of DualPipe's kind: two chunks (or
// directions), and weight gradients that wait in a queue.
type dualOrder struct {
	stage   [2]int
	from    [2]int    // first microbatch of each chunk
	done    [2][2]int // forwards and backwards so far, by chunk
	waiting []Slot    // weight gradients
	slots   []Slot
}

func (o *dualOrder) forward(chunk int) {
	o.slots = append(o.slots, Slot{Phase: F, Stage: int32(o.stage[chunk]), Microbatch: int32(o.from[chunk] + o.done[chunk][0])})
	o.done[chunk][0]++
}

func (o *dualOrder) backward(p Phase, chunk int) {
	s := Slot{Phase: p, Stage: int32(o.stage[chunk]), Microbatch: int32(o.from[chunk] + o.done[chunk][1])}
	o.done[chunk][1]++
	o.slots = append(o.slots, s)
	if p == I {
		o.waiting = append(o.waiting, weightsOf(s))
	}
}

func (o *dualOrder) weights() {
	o.slots = append(o.slots, o.waiting[0])
	o.waiting = o.waiting[1:]
}

// pair is a forward of one chunk together with a backward of the other.
func (o *dualOrder) pair(chunk int) {
	o.forward(chunk)
	o.backward(B, 1-chunk)
	o.slots[len(o.slots)-1].Paired = true
}

// body is the schedule of rank r of a half of h, over m microbatches a chunk: the
// eight steps of dualpipe.py.
func (o *dualOrder) body(h, r, m int) {
	rest := h - r - 1
	for range 2 * rest {
		o.forward(0)
	}
	for range r + 1 {
		o.forward(0)
		o.forward(1)
	}
	for range rest {
		o.backward(I, 1)
		o.weights()
		o.forward(1)
	}
	for i := range m - 2*h + r + 1 {
		if i == 0 && rest == 0 { // the middle has nothing to overlap yet
			o.forward(0)
			o.backward(B, 1)
		} else {
			o.pair(0)
		}
		o.pair(1)
	}
	for range rest {
		o.backward(B, 1)
		o.pair(1)
	}
	phase := B
	for i := range r + 1 {
		if i == (r+1)/2 && r%2 == 1 {
			phase = I
		}
		o.backward(phase, 1)
		if i == (r+1)/2 && r%2 == 0 {
			phase = I
		}
		o.backward(phase, 0)
	}
	for range rest {
		o.weights()
		o.backward(I, 0)
	}
	for len(o.waiting) > 0 {
		o.weights()
	}
}
