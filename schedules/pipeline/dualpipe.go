package pipeline

import "fmt"

func init() { register(dualPipe{}) }

// dualPipe is DualPipe (DeepSeek-V3, arXiv:2412.19437, section 3.2.1; the order is
// that of deepseek-ai/DualPipe, dualpipe.py): the first half of the microbatches
// goes down the devices, the second up, and a forward of one direction overlaps a
// backward of the other.
type dualPipe struct{ twoWay }

func (dualPipe) Name() string { return "dualpipe" }

func (dualPipe) Describe() string {
	return "two copies of each stage, microbatches from both ends, forward and backward overlapped (arXiv:2412.19437)"
}

func (dualPipe) Overlaps() bool { return true }

func (dualPipe) Check(s Shape) error {
	if err := s.checkTwoWay(); err != nil {
		return err
	}
	m, least := s.Microbatches, 2*s.Devices
	switch {
	case m < least:
		return fmt.Errorf("%d microbatches are fewer than twice the %d devices; %d would do", m, s.Devices, least)
	case m%2 != 0:
		return fmt.Errorf("half of the microbatches goes each way, %d cannot be halved; %d or %d would do", m, m-1, m+1)
	}
	return s.checkV()
}

// Copy is the direction: down for the first half of the microbatches.
func (dualPipe) Copy(s Shape, pass Slot) int {
	if int(pass.Microbatch) < s.Microbatches/2 {
		return 0
	}
	return 1
}

func (x dualPipe) Device(s Shape, pass Slot) int { return x.device(s, pass.Stage, x.Copy(s, pass)) }

func (x dualPipe) Order(s Shape) ([][]Slot, error) {
	if err := x.Check(s); err != nil {
		return nil, err
	}
	p, half := s.Devices, s.Microbatches/2
	order := make([][]Slot, p)
	for d := range order {
		// A device of the lower half comes first in the direction up: what the
		// other half does with its first chunk it does with that one.
		o := &dualOrder{stage: [2]int{d, p - 1 - d}, from: [2]int{0, half}}
		if d >= p/2 {
			o = &dualOrder{stage: [2]int{p - 1 - d, d}, from: [2]int{half, 0}}
		}
		o.body(p/2, min(d, p-1-d), half)
		order[d] = o.slots
	}
	return order, nil
}
