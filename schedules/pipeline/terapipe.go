package pipeline

import "slices"

func init() { register(teraPipe{}) }

// teraPipe is TeraPipe (Li et al. 2021, arXiv:2102.07988): GPipe over slices of
// sequences. All slices go forward, then all go backward in reverse. The order is
// rebuilt from the paper; no code of its authors schedules the backward pass. The
// paper cuts slices by dynamic programming over measured times: [TeraPipeSlices].
type teraPipe struct{ looped }

func (teraPipe) Name() string { return "terapipe" }

func (teraPipe) Describe() string {
	return "all slices forward, then all backward in reverse; holds everything (arXiv:2102.07988)"
}

func (teraPipe) Check(s Shape) error { return s.checkSliced() }

func (t teraPipe) Order(s Shape) ([][]Slot, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	order := make([][]Slot, s.Devices)
	for d := range order {
		forward := make([]Slot, 0, 2*s.Microbatches*s.slices())
		for mb := range s.Microbatches {
			for k := range s.slices() {
				forward = append(forward, Slot{Phase: F, Stage: int32(d), Microbatch: int32(mb), Slice: int32(k)})
			}
		}
		backward := slices.Clone(forward)
		slices.Reverse(backward)
		for i := range backward {
			backward[i].Phase = B
		}
		order[d] = append(forward, backward...)
	}
	return order, nil
}
