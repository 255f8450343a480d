package pipeline

import (
	"fmt"
	"slices"
)

// FileOrder is the schedule that a text says: the passes of every device and
// the placement of the stages that follows from them.
type FileOrder struct {
	Shape Shape // what the text has
	// Untimed is the number of actions that are no passes (sends, receives,
	// gathering and reduction of parameters): [Simulate] has its own transfers.
	Untimed int
	// Pairs is the number of overlapped forward and backward passes. A pair starts
	// when both can and takes as long as one after the other: what an overlap gains
	// is a property of a GPU.
	Pairs  int
	order  [][]Slot
	copies int     // of every stage
	copyOf [][]int // by stage and microbatch: the copy that it meets
	device [][]int // by stage and microbatch: the device of that
}

// ReadOrder reads a schedule in the grammar of [ParseOrder] and makes sure that
// it is complete and runs to its end; a deadlock is an error that names the
// passes that wait for each other. A stage may be on several devices, as in
// bidirectional schedules, but a microbatch meets it on one.
func ReadOrder(text string) (*FileOrder, error) {
	rows, err := ParseOrder(text)
	if err != nil {
		return nil, err
	}
	f := &FileOrder{}
	if err := f.collect(rows); err != nil {
		return nil, err
	}
	if err := f.place(); err != nil {
		return nil, err
	}
	if _, err := Simulate(f, f.Shape, Costs{F: 1, I: 1, W: 1}); err != nil {
		return nil, err
	}
	return f, nil
}

// collect turns cells into slots.
func (f *FileOrder) collect(rows [][]Cell) error {
	sliced := [2]int{}
	for _, row := range rows {
		var slots []Slot
		for _, cell := range row {
			if len(cell) > 1 {
				f.Pairs++
			}
			for _, a := range cell {
				phase, ok := passOf(a.Op)
				if !ok {
					f.Untimed++
					continue
				}
				if a.Slice == Absent {
					sliced[0]++
				} else {
					sliced[1]++
				}
				slots = append(slots, Slot{Phase: phase, Stage: a.Stage, Microbatch: a.Microbatch, Slice: max(a.Slice, 0), Paired: len(cell) > 1 && phase != F})
			}
		}
		f.order = append(f.order, slots)
	}
	if sliced[0] > 0 && sliced[1] > 0 {
		return fmt.Errorf("%d passes name a slice and %d do not: all must or none", sliced[1], sliced[0])
	}
	return nil
}

// place finds the shape and the device of each stage.
func (f *FileOrder) place() error {
	p := len(f.order)
	stages, forwards := 0, 0
	s := Shape{Devices: p}
	for d, slots := range f.order {
		if len(slots) == 0 {
			return fmt.Errorf("device %d (line %d) has no passes", d, d+1)
		}
		for _, slot := range slots {
			stages = max(stages, int(slot.Stage)+1)
			s.Microbatches = max(s.Microbatches, int(slot.Microbatch)+1)
			s.Slices = max(s.Slices, int(slot.Slice)+1)
			if slot.Phase == F {
				forwards++
			}
		}
	}
	if p == 0 {
		return fmt.Errorf("the order has no devices: want one line of passes a device")
	}
	s.Virtual = (stages + p - 1) / p // for the bounds; how many there are the copies tell
	if err := s.check(); err != nil {
		return err
	}
	if want := stages * s.Microbatches * s.slices(); forwards != want {
		return fmt.Errorf("%d forward passes; the highest numbers (%d stages, %d microbatches, %d slices) ask for %d", forwards, stages, s.Microbatches, s.Slices, want)
	}
	if err := f.placeStages(stages, s.Microbatches); err != nil {
		return err
	}
	if stages*f.copies%p != 0 {
		return fmt.Errorf("the stages 0 to %d in %d copies are not divided by the %d devices (lines): each must hold as many", stages-1, f.copies, p)
	}
	s.Virtual = stages * f.copies / p
	f.Shape = s
	return s.check()
}

// placeStages finds on which device each microbatch meets each stage.
func (f *FileOrder) placeStages(stages, microbatches int) error {
	f.device, f.copyOf = make([][]int, stages), make([][]int, stages)
	for i := range f.device {
		f.device[i] = slices.Repeat([]int{-1}, microbatches)
	}
	for d, slots := range f.order {
		for _, slot := range slots {
			switch on := &f.device[slot.Stage][slot.Microbatch]; {
			case *on < 0:
				*on = d
			case *on != d:
				return fmt.Errorf("microbatch %d runs through stage %d on device %d and on device %d: its forward and its backward must meet the same copy", slot.Microbatch, slot.Stage, *on, d)
			}
		}
	}
	for stage, on := range f.device {
		var devices []int
		for mb, d := range on {
			if d < 0 {
				return fmt.Errorf("stage %d lacks the passes of microbatch %d", stage, mb)
			}
			at := slices.Index(devices, d)
			if at < 0 {
				at, devices = len(devices), append(devices, d)
			}
			f.copyOf[stage] = append(f.copyOf[stage], at)
		}
		if stage > 0 && len(devices) != f.copies {
			return fmt.Errorf("stage 0 is on %d devices and stage %d on %d: all must have as many copies", f.copies, stage, len(devices))
		}
		f.copies = len(devices)
	}
	return nil
}

// passOf is the phase of a pass; false where the op is none.
func passOf(op Op) (Phase, bool) {
	switch op {
	case OpF:
		return F, true
	case OpB:
		return B, true
	case OpI:
		return I, true
	case OpW:
		return W, true
	}
	return 0, false
}

// Name is "file".
func (f *FileOrder) Name() string { return "file" }

// Describe is one line.
func (f *FileOrder) Describe() string {
	return "an order that a file has, in PyTorch's pipeline grammar"
}

// Check refuses every shape but the file's own.
func (f *FileOrder) Check(s Shape) error {
	if s.Group > 0 {
		return fmt.Errorf("microbatches are not grouped here, got group size %d", s.Group)
	}
	if s.Slices = s.slices(); s != f.Shape {
		h := f.Shape
		return fmt.Errorf("the order is of %d devices x %d chunks, %d microbatches and %d slices; asked for are %d x %d, %d and %d",
			h.Devices, h.Virtual, h.Microbatches, h.Slices, s.Devices, s.Virtual, s.Microbatches, s.Slices)
	}
	return nil
}

// Overlaps reports whether the file has pairs.
func (f *FileOrder) Overlaps() bool { return f.Pairs > 0 }

// Device is where the file has the stage for the microbatch.
func (f *FileOrder) Device(_ Shape, pass Slot) int { return f.device[pass.Stage][pass.Microbatch] }

// Replicas is the number of devices that a stage is on.
func (f *FileOrder) Replicas() int { return f.copies }

// Copy numbers the devices of a stage by the first microbatch that they run.
func (f *FileOrder) Copy(_ Shape, pass Slot) int { return f.copyOf[pass.Stage][pass.Microbatch] }

// Order is the file's.
func (f *FileOrder) Order(s Shape) ([][]Slot, error) {
	if err := f.Check(s); err != nil {
		return nil, err
	}
	return f.order, nil
}

var (
	_ Schedule      = (*FileOrder)(nil)
	_ Bidirectional = (*FileOrder)(nil)
	_ Overlapping   = (*FileOrder)(nil)
)
