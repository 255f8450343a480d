package pipeline

import "fmt"

func init() { register(hanayo{}) }

// hanayo sends microbatches in waves over the devices and back (Liu et al., SC'23,
// arXiv:2308.15762): 2W chunks a device on a snake. The paper's action lists are
// not public; this order is list scheduling on the snake with a backward of twice
// a forward: an idle device takes a backward first (the earliest microbatch, then
// the deepest stage), else the forward of the deepest stage.
type hanayo struct{}

func (hanayo) Name() string { return "hanayo" }

func (hanayo) Describe() string {
	return "v/2 waves over v chunks a device on a snake, list scheduled (after arXiv:2308.15762)"
}

func (hanayo) Check(s Shape) error {
	if err := s.checkWhole(); err != nil {
		return err
	}
	switch {
	case s.Devices < 2:
		return fmt.Errorf("one device has no waves; use none")
	case s.Virtual%2 != 0:
		return fmt.Errorf("a wave takes two chunks a device, got %d chunks", s.Virtual)
	}
	return s.checkUngrouped()
}

// Device goes there and back.
func (hanayo) Device(s Shape, pass Slot) int {
	p, stage := s.Devices, int(pass.Stage)
	if stage/p%2 == 1 {
		return p - 1 - stage%p
	}
	return stage % p
}

func (h hanayo) Order(s Shape) ([][]Slot, error) {
	if err := h.Check(s); err != nil {
		return nil, err
	}
	return listOrder(s, h.Device), nil
}

// listOrder runs every device's ready passes, a forward of one and a backward of
// two ticks, by the rule of hanayo.
func listOrder(s Shape, device func(Shape, Slot) int) [][]Slot {
	const forward, backward = 1, 2
	stages, m := s.chunks(), s.Microbatches
	onDevice := make([][]int, s.Devices)
	for st := stages - 1; st >= 0; st-- { // the deepest first
		d := device(s, Slot{Stage: int32(st)})
		onDevice[d] = append(onDevice[d], st)
	}
	// ends of passes by stage; a stage's go through the microbatches in order
	fEnd, bEnd := make([][]int, stages), make([][]int, stages)
	order := make([][]Slot, s.Devices)
	free := make([]int, s.Devices)
	over := func(ends [][]int, stage, mb, now int) bool { return mb < len(ends[stage]) && ends[stage][mb] <= now }
	pick := func(d, now int) (Slot, bool) {
		best, found := Slot{}, false
		for _, st := range onDevice[d] {
			mb := len(bEnd[st])
			if mb < m && over(fEnd, st, mb, now) && (st == stages-1 || over(bEnd, st+1, mb, now)) && (!found || mb < int(best.Microbatch)) {
				best, found = Slot{Phase: B, Stage: int32(st), Microbatch: int32(mb)}, true
			}
		}
		for _, st := range onDevice[d] {
			if found {
				break
			}
			if mb := len(fEnd[st]); mb < m && (st == 0 || over(fEnd, st-1, mb, now)) {
				best, found = Slot{Phase: F, Stage: int32(st), Microbatch: int32(mb)}, true
			}
		}
		return best, found
	}
	for now, left := 0, 2*stages*m; left > 0; now++ {
		for d := range order {
			if free[d] > now {
				continue
			}
			slot, ok := pick(d, now)
			if !ok {
				continue
			}
			left--
			order[d] = append(order[d], slot)
			if slot.Phase == F {
				free[d] = now + forward
				fEnd[slot.Stage] = append(fEnd[slot.Stage], free[d])
			} else {
				free[d] = now + backward
				bEnd[slot.Stage] = append(bEnd[slot.Stage], free[d])
			}
		}
	}
	return order
}
