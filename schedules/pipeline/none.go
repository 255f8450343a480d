package pipeline

import "fmt"

func init() { register(none{}) }

// none is no pipeline: one device runs the forward and then the backward of
// each microbatch (gradient accumulation).
type none struct{ looped }

func (none) Name() string { return "none" }

func (none) Describe() string {
	return "no pipeline: one device, forward then backward of each microbatch"
}

func (none) Check(s Shape) error {
	if err := s.checkPlain(); err != nil {
		return err
	}
	if s.Devices > 1 {
		return fmt.Errorf("%d devices need a pipeline schedule, such as 1f1b", s.Devices)
	}
	return nil
}

func (n none) Order(s Shape) ([][]Slot, error) {
	if err := n.Check(s); err != nil {
		return nil, err
	}
	return [][]Slot{oneForwardOneBackward(passesOf(F, 0, s.Microbatches), passesOf(B, 0, s.Microbatches), 0)}, nil
}
