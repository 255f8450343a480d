package ordersearch

import (
	"fmt"
	"strings"

	"orrery/schedules/pipeline"
)

// Placement says which device holds a stage.
type Placement string

// Placements. With one chunk a device they are the same.
const (
	Looped Placement = "looped" // stage s on device s mod p, as in Megatron-LM
	V      Placement = "v"      // two chunks: down to the last device and up again
	Wave   Placement = "wave"   // down and up again and again, as in Hanayo
)

// Placements lists them.
func Placements() []Placement { return []Placement{Looped, V, Wave} }

// ParsePlacement finds a placement by its name.
func ParsePlacement(name string) (Placement, error) {
	var known []string
	for _, p := range Placements() {
		if strings.EqualFold(name, string(p)) {
			return p, nil
		}
		known = append(known, string(p))
	}
	return "", fmt.Errorf("no placement is called %q; known are %s", name, strings.Join(known, ", "))
}

func (p Placement) check(s pipeline.Shape) error {
	switch {
	case p == V && s.Virtual != 2:
		return fmt.Errorf("a V has two model chunks a device, got %d", s.Virtual)
	case p == Wave && s.Virtual > 1 && s.Virtual%2 != 0:
		return fmt.Errorf("waves have an even number of model chunks a device, got %d", s.Virtual)
	case p != Looped && p != V && p != Wave:
		return fmt.Errorf("no placement is called %q", string(p))
	}
	return nil
}

func (p Placement) device(s pipeline.Shape, stage int) int {
	along := stage % s.Devices
	if p != Looped && stage/s.Devices%2 == 1 {
		return s.Devices - 1 - along
	}
	return along
}

// Holds reports whether a schedule places every stage of a shape so.
func (p Placement) Holds(q pipeline.Schedule, s pipeline.Shape) bool {
	for stage := range s.Devices * s.Virtual {
		if q.Device(s, pipeline.Slot{Stage: int32(stage)}) != p.device(s, stage) {
			return false
		}
	}
	return true
}

// Order is an order that was found, as a schedule of its shape.
type Order struct {
	problem Problem
	order   [][]pipeline.Slot
}

// Name is "found".
func (o *Order) Name() string { return "found" }

// Describe is one line.
func (o *Order) Describe() string { return "an order that was searched for" }

// Check refuses every other shape.
func (o *Order) Check(s pipeline.Shape) error {
	if s != o.problem.Shape {
		return fmt.Errorf("this order is of the shape %+v", o.problem.Shape)
	}
	return nil
}

// Device is the placement's.
func (o *Order) Device(s pipeline.Shape, slot pipeline.Slot) int {
	return o.problem.Placement.device(s, int(slot.Stage))
}

// Order is what was found.
func (o *Order) Order(s pipeline.Shape) ([][]pipeline.Slot, error) { return o.order, o.Check(s) }

var _ pipeline.Schedule = (*Order)(nil)
