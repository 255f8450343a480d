package pipeline

import "fmt"

func init() { register(interleaved{}) }

// interleaved is Megatron-LM's interleaved 1F1B (Narayanan et al. 2021,
// arXiv:2104.04473, section 2.2) with any microbatch_group_size_per_vp_stage N
// (core/pipeline_parallel/schedules.py, get_schedule_table): N microbatches go
// through a device's first chunk, the same N through its second, and so on.
// The default N is p, the only one that older versions have.
type interleaved struct{ looped }

func (interleaved) Name() string { return "interleaved_1f1b" }

func (interleaved) Describe() string {
	return "1f1b over v model chunks per device, bubble 1/v (Megatron-LM, arXiv:2104.04473)"
}

// group is N.
func (interleaved) group(s Shape) int {
	if s.Group == 0 {
		return s.Devices
	}
	return s.Group
}

// Check has the conditions of Megatron-LM (arguments.py and schedules.py).
func (i interleaved) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	p, m, n := s.Devices, s.Microbatches, i.group(s)
	switch {
	case p < 2:
		return fmt.Errorf("one device has nothing to interleave; use none")
	case s.Virtual < 2:
		return fmt.Errorf("one model chunk per device has nothing to interleave; use 1f1b")
	case m < p:
		return fmt.Errorf("%d microbatches are fewer than the %d devices", m, p)
	case n < p || n > m:
		return fmt.Errorf("group size %d is not between the %d devices and the %d microbatches", n, p, m)
	case m%n > 0 && m%n < p:
		return fmt.Errorf("%d microbatches in groups of %d leave a last group of %d: it must have at least as many as the %d devices, or divide evenly", m, n, m%n, p)
	}
	return nil
}

func (i interleaved) Order(s Shape) ([][]Slot, error) {
	if err := i.Check(s); err != nil {
		return nil, err
	}
	p, v, m, n := s.Devices, s.Virtual, s.Microbatches, i.group(s)
	order := make([][]Slot, p)
	for d := range order {
		forward, backward := interleavedPasses(s, n, d)
		// Two forwards a hop, one more than the dependencies need: a microbatch is
		// sent ahead on every hop, so that the transfer is hidden.
		warmup := min(2*(p-1-d)+(v-1)*n, m*v)
		order[d] = oneForwardOneBackward(forward, backward, warmup)
	}
	return order, nil
}

// interleavedPasses are a device's forwards and backwards, each in the order in
// which they run: groups of n microbatches, chunk by chunk.
func interleavedPasses(s Shape, n, d int) (forward, backward []Slot) {
	p, v, m := s.Devices, s.Virtual, s.Microbatches
	forward, backward = make([]Slot, 0, m*v), make([]Slot, 0, m*v)
	for first := 0; first < m; first += n {
		for chunk := range v {
			for mb := first; mb < min(first+n, m); mb++ {
				forward = append(forward, Slot{Phase: F, Stage: int32(chunk*p + d), Microbatch: int32(mb)})
				backward = append(backward, Slot{Phase: B, Stage: int32((v-1-chunk)*p + d), Microbatch: int32(mb)})
			}
		}
	}
	return forward, backward
}
