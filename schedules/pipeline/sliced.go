package pipeline

import "fmt"

// sliced is the family of 1F1B orders whose unit is a slice of a microbatch:
// group microbatches go through a device's first chunk slice by slice, then
// through its second, and so on. Backward passes go through the microbatches in
// the same order and through the slices of each in reverse, since the gradients
// of a slice's keys and values come from the slices after it. Device d starts
// with lead + hop*(p-1-d) forwards before it alternates.
type sliced struct {
	group     int // microbatches that go through a chunk before the next takes over
	lead, hop int // warm-up forwards of the last device, and more of each before it
}

// order is the family's order; s must have been checked, group and warm-up be 0
// or more.
func (f sliced) order(s Shape) [][]Slot {
	p, v, m, n := s.Devices, s.Virtual, s.Microbatches, s.slices()
	order := make([][]Slot, p)
	for d := range order {
		forward, backward := make([]Slot, 0, m*v*n), make([]Slot, 0, m*v*n)
		for first := 0; first < m; first += f.group {
			for chunk := range v {
				for mb := first; mb < min(first+f.group, m); mb++ {
					for k := range n {
						forward = append(forward, Slot{Phase: F, Stage: int32(chunk*p + d), Microbatch: int32(mb), Slice: int32(k)})
						backward = append(backward, Slot{Phase: B, Stage: int32((v-1-chunk)*p + d), Microbatch: int32(mb), Slice: int32(n - 1 - k)})
					}
				}
			}
		}
		order[d] = oneForwardOneBackward(forward, backward, min(f.lead+f.hop*(p-1-d), m*v*n))
	}
	return order
}

// checkSliced is check for schedules with one chunk per device whose
// microbatches are cut into slices and not grouped.
func (s Shape) checkSliced() error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Virtual > 1 {
		return fmt.Errorf("a device holds one model chunk here, got %d; mepipe_svpp and slimpipe take more", s.Virtual)
	}
	if s.Group > 0 {
		return fmt.Errorf("microbatches are not grouped here, got group size %d; mepipe_svpp takes one", s.Group)
	}
	return nil
}

// checkUngrouped refuses a size of groups.
func (s Shape) checkUngrouped() error {
	if s.Group > 0 {
		return fmt.Errorf("the size of groups is not free here, got %d; interleaved_1f1b takes one", s.Group)
	}
	return nil
}
