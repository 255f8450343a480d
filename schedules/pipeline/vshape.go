package pipeline

import "fmt"

// vShaped is the placement of two chunks on a device in the shape of a V: stage s
// on device s on the way down, on device 2p-1-s on the way up, so that the last
// stage is on the device of the first.
type vShaped struct{}

// Device is where a stage is.
func (vShaped) Device(s Shape, pass Slot) int {
	if stage := int(pass.Stage); stage >= s.Devices {
		return 2*s.Devices - 1 - stage
	}
	return int(pass.Stage)
}

// checkV refuses what a V of two chunks on each device cannot be.
func (s Shape) checkV() error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	switch {
	case s.Virtual != 2:
		return fmt.Errorf("a device holds two model chunks here, got %d", s.Virtual)
	case s.Group > 0:
		return fmt.Errorf("microbatches are not grouped here, got group size %d", s.Group)
	}
	return nil
}

// vOrder builds the order of a device with two chunks, each of whose passes goes
// through the microbatches from first to last. Chunk 0 is the one on the way down.
type vOrder struct {
	stage [2]int
	done  [2][4]int // passes so far, by chunk and phase
	slots []Slot
	most  int // microbatches; passes of later ones are left out
}

func newVOrder(s Shape, d int) *vOrder {
	return &vOrder{stage: [2]int{d, 2*s.Devices - 1 - d}, slots: make([]Slot, 0, 6*s.Microbatches), most: s.Microbatches}
}

func (o *vOrder) take(p Phase, chunk int) {
	if mb := o.done[chunk][p]; mb < o.most {
		o.slots = append(o.slots, Slot{Phase: p, Stage: int32(o.stage[chunk]), Microbatch: int32(mb)})
	}
	o.done[chunk][p]++
}

// takeIW is a backward and the weight gradient of the same microbatch right behind
// it. Weight gradients that were put off stay where they are.
func (o *vOrder) takeIW(chunk int) {
	mb := o.done[chunk][I]
	o.take(I, chunk)
	if mb < o.most {
		o.slots = append(o.slots, Slot{Phase: W, Stage: int32(o.stage[chunk]), Microbatch: int32(mb)})
	}
	o.done[chunk][W]++
}
