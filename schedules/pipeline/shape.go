package pipeline

import "fmt"

// maxPasses bounds the forward passes of an order (a slot is 16 bytes, so an
// order stays below 2 GiB); the largest published runs have some 10^5.
const maxPasses = 1 << 25

// chunks is the number of model chunks that the devices hold, p*v.
func (s Shape) chunks() int { return s.Devices * s.Virtual }

// slices is n, at least 1.
func (s Shape) slices() int { return max(s.Slices, 1) }

// passes is the number of forward passes of the whole pipeline where every stage
// is held once, p*v*m*n.
func (s Shape) passes() int { return s.chunks() * s.Microbatches * s.slices() }

// check refuses sizes that mean nothing to any schedule.
func (s Shape) check() error {
	total := 1
	for _, size := range []struct {
		name  string
		value int
	}{
		{"devices", s.Devices}, {"model chunks per device", s.Virtual}, {"microbatches", s.Microbatches}, {"slices", s.slices()},
	} {
		if size.value < 1 {
			return fmt.Errorf("%s: %d, want 1 or more", size.name, size.value)
		}
		if size.value > maxPasses/total {
			return fmt.Errorf("more than %d forward passes: %d devices x %d chunks x %d microbatches x %d slices",
				maxPasses, s.Devices, s.Virtual, s.Microbatches, s.slices())
		}
		total *= size.value
	}
	if s.Slices < 0 || s.Group < 0 {
		return fmt.Errorf("slices %d and group size %d cannot be negative", s.Slices, s.Group)
	}
	return nil
}

// checkWhole is check for schedules that do not cut microbatches into slices.
func (s Shape) checkWhole() error {
	if err := s.check(); err != nil {
		return err
	}
	if s.slices() > 1 {
		return fmt.Errorf("microbatches are not cut into slices here, got %d slices", s.Slices)
	}
	return nil
}

// checkPlain is check for schedules with one chunk per device and whole,
// ungrouped microbatches.
func (s Shape) checkPlain() error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	if s.Virtual > 1 {
		return fmt.Errorf("a device holds one model chunk here, got %d; interleaved_1f1b takes more", s.Virtual)
	}
	if s.Group > 0 {
		return fmt.Errorf("microbatches are not grouped here, got group size %d; interleaved_1f1b takes one", s.Group)
	}
	return nil
}

// looped is the placement of Megatron-LM: stage s is on device s mod p, which
// is device s where there is one chunk per device.
type looped struct{}

func (looped) Device(s Shape, pass Slot) int { return int(pass.Stage) % s.Devices }

// passesOf is the passes of one phase of one stage over microbatches 0..m-1.
func passesOf(phase Phase, stage, microbatches int) []Slot {
	out := make([]Slot, microbatches)
	for i := range out {
		out[i] = Slot{Phase: phase, Stage: int32(stage), Microbatch: int32(i)}
	}
	return out
}

// oneForwardOneBackward is a device's order of w warm-up forwards, then one
// forward and one backward in turn, then the backwards that are left. It needs
// as many backwards as forwards and 0 <= w <= len(forward).
func oneForwardOneBackward(forward, backward []Slot, w int) []Slot {
	out := make([]Slot, 0, 2*len(forward))
	out = append(out, forward[:w]...)
	for k, f := range forward[w:] {
		out = append(out, f, backward[k])
	}
	return append(out, backward[len(forward)-w:]...)
}
