package pipeline

import "fmt"

func init() { register(torchInterleaved{}) }

// torchInterleaved is PyTorch's ScheduleInterleaved1F1B: interleaved 1F1B that
// goes through the microbatches in max(1, m/p) rounds of equal size, so that
// fewer microbatches than devices run too. Where p divides m it is Megatron's.
type torchInterleaved struct{ looped }

func (torchInterleaved) Name() string { return "torch_interleaved_1f1b" }

func (torchInterleaved) Describe() string {
	return "interleaved 1f1b in m/p rounds of equal size (PyTorch ScheduleInterleaved1F1B)"
}

func rounds(s Shape) int { return max(1, s.Microbatches/s.Devices) }

func (torchInterleaved) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	if s.Devices < 2 {
		return fmt.Errorf("one device has nothing to interleave; use none")
	}
	if r := rounds(s); s.Microbatches%r != 0 {
		return fmt.Errorf("%d microbatches on %d devices are not cut into %d rounds of equal size", s.Microbatches, s.Devices, r)
	}
	return s.checkUngrouped()
}

func (t torchInterleaved) Order(s Shape) ([][]Slot, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	n := s.Microbatches / rounds(s)
	return sliced{group: n, lead: (s.Virtual - 1) * n, hop: 2}.order(s), nil
}
