package pipeline

import "fmt"

// Validate returns what is wrong with an order of schedule s, or nil: every
// stage must have, on its device and for every microbatch and slice, exactly
// one forward and either one fused backward or both of its halves. Whether the
// order can be run is [Simulate]'s to say.
func Validate(s Schedule, shape Shape, order [][]Slot) error {
	if err := s.Check(shape); err != nil {
		return err
	}
	if err := shape.check(); err != nil {
		return err // Check of s is laxer than what the indices below can bear
	}
	if len(order) != shape.Devices {
		return fmt.Errorf("the order has %d devices, want %d", len(order), shape.Devices)
	}
	stages := Stages(s, shape)
	seen := make([]uint8, stages*shape.Microbatches*shape.slices()) // bit p: phase p is there
	for d, slots := range order {
		for i, slot := range slots {
			if !slot.in(shape, stages) {
				return fmt.Errorf("device %d, slot %d: %v is outside the shape %+v", d, i, slot, shape)
			}
			if on := s.Device(shape, slot); on != d {
				return fmt.Errorf("device %d, slot %d: %v belongs to device %d", d, i, slot, on)
			}
			if slot.Paired && (i == 0 || slots[i-1].Phase != F || slot.Phase != B && slot.Phase != I) {
				return fmt.Errorf("device %d, slot %d: %v is paired, but is no backward behind a forward", d, i, slot)
			}
			bit := uint8(1) << slot.Phase
			if seen[slot.index(shape)]&bit != 0 {
				return fmt.Errorf("device %d, slot %d: %v is there twice", d, i, slot)
			}
			seen[slot.index(shape)] |= bit
		}
	}
	const fused, split = 1<<F | 1<<B, 1<<F | 1<<I | 1<<W
	for i, phases := range seen {
		if phases != fused && phases != split {
			return fmt.Errorf("%v lacks passes or has too many: %04b (bits W I B F)", slotAt(shape, i), phases)
		}
	}
	return nil
}

// String is the slot in PyTorch's grammar, with its slice.
func (s Slot) String() string {
	return fmt.Sprintf("%d%v%d.%d", s.Stage, s.Phase, s.Microbatch, s.Slice)
}

// in reports whether the slot's numbers are within the shape and the stages.
func (s Slot) in(shape Shape, stages int) bool {
	return s.Phase <= W && s.Stage >= 0 && int(s.Stage) < stages &&
		s.Microbatch >= 0 && int(s.Microbatch) < shape.Microbatches &&
		s.Slice >= 0 && int(s.Slice) < shape.slices()
}

// index numbers the (stage, microbatch, slice) triples from 0.
func (s Slot) index(shape Shape) int {
	return (int(s.Stage)*shape.Microbatches+int(s.Microbatch))*shape.slices() + int(s.Slice)
}

// slotAt is the forward with that index.
func slotAt(shape Shape, index int) Slot {
	n := shape.slices()
	return Slot{Phase: F, Stage: int32(index / n / shape.Microbatches), Microbatch: int32(index / n % shape.Microbatches), Slice: int32(index % n)}
}
