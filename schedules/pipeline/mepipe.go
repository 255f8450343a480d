package pipeline

import "fmt"

func init() { register(mePipe{}) }

// mePipe is the sliced virtual pipeline of MEPipe (EuroSys'25): interleaved 1F1B
// over slices with the least warm-up that the dependencies bear. No code of its
// authors is public; the order is rebuilt from the paper's formulas, which it
// meets: bubble (p-1)/(p-1+mnv) and, where one of p and n divides the other, a
// peak of v*max(p,n) + min(p,n) - 1 slices on device 0. [MEPipePieces] times it
// with its weight gradients in pieces of single GEMMs.
type mePipe struct{ looped }

func (mePipe) Name() string { return "mepipe_svpp" }

func (mePipe) Describe() string {
	return "interleaved 1f1b over n slices with the least warm-up (MEPipe's SVPP, rebuilt from its paper)"
}

// group is the number of microbatches that take turns on a chunk where the shape
// names none: as few as make p slices.
func (mePipe) group(s Shape) int { return (s.Devices + s.slices() - 1) / s.slices() }

// Check refuses groups that deadlock: a chunk's first slice comes back to device
// 0 after p forwards, which the group must have.
func (e mePipe) Check(s Shape) error {
	if err := s.check(); err != nil {
		return err
	}
	if most := max(s.Microbatches, e.group(s)); s.Group > most {
		return fmt.Errorf("group size %d is above %d, the larger of the microbatches and of what makes p slices", s.Group, most)
	}
	if g := s.Group; g > 0 && g < s.Microbatches && s.Virtual > 1 && g*s.slices() < s.Devices {
		return fmt.Errorf("groups of %d microbatches of %d slices are fewer passes than the %d devices: model chunks take turns after p slices", g, s.slices(), s.Devices)
	}
	return nil
}

func (e mePipe) Order(s Shape) ([][]Slot, error) {
	if err := e.Check(s); err != nil {
		return nil, err
	}
	g, n := s.Group, s.slices()
	if g == 0 {
		g = e.group(s)
	}
	return sliced{group: g, lead: (s.Virtual-1)*g*n + n - 1, hop: 1}.order(s), nil
}
