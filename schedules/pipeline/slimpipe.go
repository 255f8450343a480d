package pipeline

import "fmt"

func init() { register(slimPipe{}) }

// slimPipe is 1F1B over equal slices of sequences (SlimPipe, arXiv:2504.14519;
// the order is that of the authors' SC'25 artifact, schedules.py,
// pipelining_with_interleaved_slicing). Device d starts its first backward after
// n*v + 2(p-1-d) forwards, so the last device holds one microbatch.
type slimPipe struct{ looped }

func (slimPipe) Name() string { return "slimpipe" }

func (slimPipe) Describe() string {
	return "1f1b over n equal slices of each sequence, bubble (p-1)/(nvm+p-1) (arXiv:2504.14519)"
}

// group is the number of slices that go through a chunk before the next one
// takes over: the smallest divisor of n that is p or more, and all without chunks.
func (slimPipe) group(s Shape) int {
	n := s.slices()
	if s.Virtual == 1 {
		return n
	}
	for g := s.Devices; g < n; g++ {
		if n%g == 0 {
			return g
		}
	}
	return n
}

// Check has the conditions of the artifact.
func (slimPipe) Check(s Shape) error {
	if err := s.check(); err != nil {
		return err
	}
	p, n, v, m := s.Devices, s.slices(), s.Virtual, s.Microbatches
	switch {
	case s.Group > 0:
		return fmt.Errorf("the group of slices follows from n and p, got group size %d", s.Group)
	case p < 2:
		return fmt.Errorf("one device has no pipeline; use none")
	case v > 1 && n < p:
		return fmt.Errorf("%d slices are fewer than the %d devices: model chunks take turns after p slices", n, p)
	case m*n*v < n*v+2*(p-1):
		return fmt.Errorf("%d slice passes (m x n x v) do not fill the warm-up of n x v + 2(p-1) = %d", m*n*v, n*v+2*(p-1))
	}
	return nil
}

func (t slimPipe) Order(s Shape) ([][]Slot, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	p, n, v, m := s.Devices, s.slices(), s.Virtual, s.Microbatches
	order := make([][]Slot, p)
	for d := range order {
		forward, backward := make([]Slot, 0, m*n*v), make([]Slot, 0, m*n*v)
		for b := range m {
			one := t.microbatch(s, d, b)
			forward = append(forward, one...)
			for i := len(one) - 1; i >= 0; i-- { // gradients of later slices' keys first
				one[i].Phase = B
				backward = append(backward, one[i])
			}
		}
		// One backward follows the forward that fills the warm-up.
		warmup := min(n*v+2*(p-1-d), len(forward)) - 1
		order[d] = oneForwardOneBackward(forward, backward, warmup)
	}
	return order, nil
}

// microbatch is the order of a microbatch's forward passes on device d.
func (t slimPipe) microbatch(s Shape, d, b int) []Slot {
	n, v, g := s.slices(), s.Virtual, t.group(s)
	out := make([]Slot, 0, n*v)
	for first := 0; first < n; first += g {
		for chunk := range v {
			for i := first; i < first+g; i++ {
				out = append(out, Slot{Phase: F, Stage: int32(chunk*s.Devices + d), Microbatch: int32(b), Slice: int32(i)})
			}
		}
	}
	return out
}
