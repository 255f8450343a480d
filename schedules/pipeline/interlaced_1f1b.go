package pipeline

import (
	"fmt"

	"orrery/sim/unit"
)

// Interlaced1F1B is 1F1B with the output layer cut over the devices and run by all
// of them at once (nnScaler's interlaced pipeline, as sail-sg/VocabularyParallelism
// has it for comparison): a device waits in S_k for the statistics of all shares
// and computes all gradients of its own, so that nothing is left for later and half
// as many microbatches again are in flight. It is not registered, as its passes S
// are not those of a stage: slice 0 of S is the logits, slice 1, when all devices
// have those, the gradients.
type Interlaced1F1B struct{ looped }

// Name is "interlaced_1f1b".
func (Interlaced1F1B) Name() string { return "interlaced_1f1b" }

// Describe is one line.
func (Interlaced1F1B) Describe() string {
	return "1F1B with the output layer run by all devices at once (arXiv:2411.05288, interlaced)"
}

// Check refuses more than one chunk a device, slices, groups, and one device.
func (Interlaced1F1B) Check(s Shape) error { return Vocabulary1F1B{Barriers: 1}.Check(s) }

// Order gives each device's passes; the stage of an S is the number of its device.
func (i Interlaced1F1B) Order(s Shape) ([][]Slot, error) {
	if err := i.Check(s); err != nil {
		return nil, err
	}
	p, m := s.Devices, s.Microbatches
	order := make([][]Slot, p)
	for d := range order {
		var next [S + 1]int32
		put := func(phases ...Phase) {
			for _, phase := range phases {
				slot := Slot{Phase: phase, Stage: int32(d), Microbatch: next[phase]}
				next[phase]++
				order[d] = append(order[d], slot)
				if phase == S {
					slot.Slice = 1
					order[d] = append(order[d], slot)
				}
			}
		}
		warm, cool := min(p*3/2-d, m), min(p-d, m)
		wait := max(0, warm-cool-(p-d-1)/2) // backwards before the next forward
		steady := []Phase{B, F, S}
		if d%2 == p%2 {
			steady = []Phase{F, B, S}
		}
		for range warm {
			put(F)
		}
		for range cool {
			put(S)
		}
		for range wait {
			put(B, S)
		}
		for range m - warm {
			put(steady...)
		}
		for range warm - cool - wait {
			put(B, S)
		}
		for range cool {
			put(B)
		}
	}
	return order, nil
}

// InterlacedVocabulary times it: c.F and the sum of c.I and c.W are the times of F
// and B of a stage without output layer, logits and gradients those of the halves
// of S. The gradients start when the last device has its logits.
func InterlacedVocabulary(shape Shape, c Costs, logits, gradients unit.Time) (*Timing, error) {
	order, err := Interlaced1F1B{}.Order(shape)
	if err != nil {
		return nil, err
	}
	switch {
	case logits < 0 || gradients < 0:
		return nil, fmt.Errorf("the costs of S are %d and %d, cannot be negative", logits, gradients)
	case c.Vary != nil:
		return nil, fmt.Errorf("costs that differ from pass to pass are not known here")
	}
	shares := Costs{F: c.F, I: c.I + c.W, Comm: c.Comm, Vary: func(slot Slot) unit.Time {
		switch {
		case slot.Phase == F:
			return c.F
		case slot.Phase != S:
			return c.I + c.W
		case slot.Slice == 0:
			return logits
		}
		return gradients
	}}
	return runVocabulary(shape, 0, shares, Costs{F: max(c.F, logits), I: max(c.I, gradients), W: c.W, Comm: c.Comm}, order)
}
