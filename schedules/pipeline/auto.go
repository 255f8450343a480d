package pipeline

import (
	"fmt"
	"slices"
)

// Auto is a schedule whose order depends on what passes and transfers cost and on
// how much a device may hold, so that it is no [Schedule] of its own: Order gives
// one for costs.
type Auto interface {
	Name() string
	// Describe is one line, with the source.
	Describe() string
	// Check returns what is wrong with the shape for this schedule, or nil.
	Check(Shape) error
	// Device returns the device that runs a pass, whatever the costs.
	Device(Shape, Slot) int
	// Order is the best that the heuristic finds for these costs where a device
	// holds the activations of at most limit microbatches, half of each given back
	// by either half of the backward; 0 is the heuristic's own limit. Costs must be
	// the same for all passes of a phase. The error says where the limit is too
	// tight.
	Order(s Shape, c Costs, limit float64) (Schedule, error)
}

// Autos lists them, sorted by name.
func Autos() []Auto { return []Auto{zbAuto{}, zbvAuto{}} }

// LookupAuto finds one by its name in lower case with underscores.
func LookupAuto(name string) (Auto, bool) {
	for _, a := range Autos() {
		if a.Name() == name {
			return a, true
		}
	}
	return nil, false
}

// Fitted is an automatic schedule for costs and a limit, as a [Schedule].
type Fitted struct {
	Auto
	Costs Costs
	Limit float64 // in microbatches; 0 is the heuristic's own
}

// Order is Auto's for these costs and limit.
func (f Fitted) Order(s Shape) ([][]Slot, error) {
	fit, err := f.Auto.Order(s, f.Costs, f.Limit)
	if err != nil {
		return nil, err
	}
	return fit.Order(s)
}

var _ Schedule = Fitted{}

// checkAuto is what all of them ask of shape, costs and limit.
func checkAuto(a Auto, s Shape, c Costs, limit float64) error {
	if err := a.Check(s); err != nil {
		return err
	}
	if c.Vary != nil {
		return fmt.Errorf("%s takes one cost for each phase", a.Name())
	}
	if limit != 0 && !(limit >= 1) {
		return fmt.Errorf("a limit of %g microbatches: at least one is held", limit)
	}
	return c.check(s, nil)
}

// Memory of a pass, in halves of a forward's activations: half is given back by
// each half of the backward.
const autoForward, autoInput, autoWeight = 2.0, -1.0, -1.0

func memoryOf(p Phase) float64 { return [...]float64{F: autoForward, I: autoInput, W: autoWeight}[p] }

// fixedOrder is a schedule of one shape.
type fixedOrder struct {
	placement
	name  string
	shape Shape
	order [][]Slot
}

type placement interface{ Device(Shape, Slot) int }

func (f fixedOrder) Name() string     { return f.name }
func (f fixedOrder) Describe() string { return f.name }

func (f fixedOrder) Check(s Shape) error {
	if s != f.shape {
		return fmt.Errorf("this order is of the shape %+v", f.shape)
	}
	return nil
}

func (f fixedOrder) Order(s Shape) ([][]Slot, error) { return f.order, f.Check(s) }

// autoRun is what a run of a heuristic knows of each device. Times are floats and
// computed in the reference's order of operations, since ties decide.
type autoRun struct {
	p, m          int
	cost          [4]float64 // by phase
	comm          float64
	limit         float64 // of held
	held          []float64
	clock, bubble []float64
}

func newAutoRun(s Shape, c Costs, limit float64) autoRun {
	p := s.Devices
	r := autoRun{p: p, m: s.Microbatches, comm: float64(c.Comm), limit: limit,
		held: make([]float64, p), clock: make([]float64, p), bubble: make([]float64, p)}
	r.cost[F], r.cost[I], r.cost[W] = float64(c.F), float64(c.I), float64(c.W)
	return r
}

// book ends a pass of device d at t. Idling before a device's first pass is no
// bubble.
func (r *autoRun) book(d int, p Phase, t float64, first bool) {
	if !first {
		r.bubble[d] += t - r.clock[d] - r.cost[p]
	}
	r.clock[d] = t
	r.held[d] += memoryOf(p)
}

// slack is how much more a device may idle than it has, to be as late as the worst.
func (r *autoRun) slack(d int) float64 { return slices.Max(r.bubble) - r.bubble[d] }
