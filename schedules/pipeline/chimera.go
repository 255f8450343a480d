package pipeline

import "fmt"

func init() { register(chimera{}) }

// chimera is Chimera (Li and Hoefler, SC'21, arXiv:2107.06925) with two pipelines:
// of each p microbatches half goes down the devices and half up, each as in 1F1B,
// and the passes of one fill the bubbles of the other. More than p microbatches
// are such groups one after the other (section 3.5, direct concatenation).
type chimera struct{ twoWay }

func (chimera) Name() string { return "chimera" }

func (chimera) Describe() string {
	return "two copies of each stage, half of every p microbatches from either end (arXiv:2107.06925)"
}

func (chimera) Check(s Shape) error {
	if err := s.checkTwoWay(); err != nil {
		return err
	}
	switch p, m := s.Devices, s.Microbatches; {
	case m < p:
		return fmt.Errorf("%d microbatches are fewer than the %d devices; %d would do", m, p, p)
	case m%p != 0:
		return fmt.Errorf("%d microbatches are not groups of one a device, %d; %d or %d would do", m, p, m-m%p, m-m%p+p)
	}
	return s.checkV()
}

// Copy is the direction: down for the first half of each p microbatches.
func (chimera) Copy(s Shape, pass Slot) int {
	if int(pass.Microbatch)%s.Devices < s.Devices/2 {
		return 0
	}
	return 1
}

func (x chimera) Device(s Shape, pass Slot) int { return x.device(s, pass.Stage, x.Copy(s, pass)) }

func (x chimera) Order(s Shape) ([][]Slot, error) {
	if err := x.Check(s); err != nil {
		return nil, err
	}
	p := s.Devices
	order := make([][]Slot, p)
	for d := range order {
		// In ticks of one pass, microbatch i of a direction's share of a group enters at
		// 2i and its gradient leaves the last stage p ticks later. So the forwards down
		// and the backwards up fill every other tick of device d from tick d on, and
		// the others the ticks between, from p-1-d on.
		first, second := x.ticks(s, d, 0), x.ticks(s, d, 1)
		if d >= p/2 {
			first, second = second, first
		}
		order[d] = oneForwardOneBackward(first, second, max(p-1-2*d, 2*d+1-p)/2)
	}
	return order, nil
}

// ticks is the forwards of device d in one direction and its backwards in the
// other, by turns half a group of each.
func (chimera) ticks(s Shape, d, way int) []Slot {
	p := s.Devices
	stage := [2]int{d, p - 1 - d}
	out := make([]Slot, 0, s.Microbatches)
	for first := 0; first < s.Microbatches; first += p {
		for _, run := range []struct {
			phase Phase
			way   int
		}{{F, way}, {B, 1 - way}} {
			for i := range p / 2 {
				out = append(out, Slot{Phase: run.phase, Stage: int32(stage[run.way]), Microbatch: int32(first + run.way*p/2 + i)})
			}
		}
	}
	return out
}
