package pipeline

import "fmt"

func init() { register(torchInterleavedZB{}) }

// torchInterleavedZB is PyTorch's ScheduleInterleavedZeroBubble, the interleaved
// ZB1P: interleaved 1F1B with split backward and one extra forward a hop, whose
// weight gradients follow once as many backwards have run as there are devices
// before this one.
type torchInterleavedZB struct{ looped }

func (torchInterleavedZB) Name() string { return "torch_interleaved_zb" }

func (torchInterleavedZB) Describe() string {
	return "interleaved 1f1b with split backward, ZB1P (PyTorch ScheduleInterleavedZeroBubble)"
}

func (torchInterleavedZB) Check(s Shape) error {
	if s.Virtual < 2 {
		return fmt.Errorf("one model chunk per device has nothing to interleave; use zb_h1")
	}
	return torchInterleaved{}.Check(s)
}

func (t torchInterleavedZB) Order(s Shape) ([][]Slot, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	p, v, m := s.Devices, s.Virtual, s.Microbatches
	n := m / rounds(s)
	order := make([][]Slot, p)
	for d := range order {
		forward, backward := make([]Slot, 0, m*v), make([]Slot, 0, m*v)
		for first := 0; first < m; first += n {
			for chunk := range v {
				for mb := first; mb < first+n; mb++ {
					forward = append(forward, Slot{Phase: F, Stage: int32(chunk*p + d), Microbatch: int32(mb)})
					backward = append(backward, Slot{Phase: I, Stage: int32((v-1-chunk)*p + d), Microbatch: int32(mb)})
				}
			}
		}
		w := min((v-1)*n+p-1-d, m*v)
		out := make([]Slot, 0, 3*m*v)
		out = append(out, forward[:w]...)
		weights := 0
		for k, b := range backward {
			if w+k < m*v {
				out = append(out, forward[w+k])
			}
			out = append(out, b)
			if k >= d {
				out = append(out, weightsOf(backward[weights]))
				weights++
			}
		}
		for _, b := range backward[weights:] {
			out = append(out, weightsOf(b))
		}
		order[d] = out
	}
	return order, nil
}

// weightsOf is the weight gradient that a backward leaves.
func weightsOf(b Slot) Slot {
	b.Phase = W
	return b
}
