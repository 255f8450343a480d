package pipeline

import "fmt"

// Bidirectional is a schedule that holds several copies of every stage, so that
// microbatches can go through the devices both ways. A microbatch meets one copy of
// each stage; at the end of a step the gradients of the copies are to be summed.
type Bidirectional interface {
	// Replicas is the number of copies of every stage, 1 where it is held once.
	Replicas() int
	// Copy tells which copy of its stage runs a pass, from 0.
	Copy(Shape, Slot) int
}

// Replicas is the number of copies that a schedule holds of every stage.
func Replicas(s Schedule) int {
	if b, ok := s.(Bidirectional); ok {
		return b.Replicas()
	}
	return 1
}

// CopyOf tells which copy of its stage runs a pass, from 0.
func CopyOf(s Schedule, shape Shape, pass Slot) int {
	if b, ok := s.(Bidirectional); ok {
		return b.Copy(shape, pass)
	}
	return 0
}

// Stages is the number of global stages of a schedule: p*v, as many fewer as there
// are copies of each, or those of all modules. Without a schedule (nil) every stage
// is held once.
func Stages(s Schedule, shape Shape) int {
	if m, ok := s.(Multimodal); ok {
		n := m.ModuleStages(shape)
		return n[Encoder] + n[LLM] + n[Generator]
	}
	return shape.chunks() / Replicas(s)
}

// twoWay is two pipelines of p stages over the same p devices, one in each
// direction: the first copy of stage s is on device s, the second on device p-1-s.
type twoWay struct{}

// Replicas is 2.
func (twoWay) Replicas() int { return 2 }

// device is where a copy of a stage is.
func (twoWay) device(s Shape, stage int32, replica int) int {
	if replica == 1 {
		return s.Devices - 1 - int(stage)
	}
	return int(stage)
}

// checkTwoWay is checkWhole, and refuses devices that two pipelines cannot share.
// What else the two need (checkV) is for after the schedule's own conditions.
func (s Shape) checkTwoWay() error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	switch {
	case s.Devices == 1:
		return fmt.Errorf("microbatches go both ways through an even number of devices, got 1; 2 would do")
	case s.Devices%2 != 0:
		return fmt.Errorf("microbatches go both ways through an even number of devices, got %d; %d or %d would do", s.Devices, s.Devices-1, s.Devices+1)
	}
	return nil
}
